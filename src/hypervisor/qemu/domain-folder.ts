// What is known of a domain between two runs of the daemon lies in a folder of its own: QEMU's pid file and sockets, and
// `started`, made when the guest runs. A folder without it is a start that was cut off, and its QEMU has to go.
// A process is the domain's own only if its command line names this pid file: pids are used again.

import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { XvdError } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import { requireSocketPath } from '../../base/socket-path.ts';
import type { MachinePaths } from './machine.ts';

export type DomainFolder = MachinePaths & { readonly name: string; readonly path: string; readonly startedMark: string };

export function domainFolder(runFolder: string, name: string): DomainFolder {
  const path = join(runFolder, 'domains', name);
  const inside = (file: string): string => join(path, file);
  return { name, path, qmpSocket: inside('qmp.sock'), consoleSocket: inside('console.sock'), pidFile: inside('pid'), startedMark: inside('started') };
}

/** Makes the folder; false when the domain has one already. */
export async function makeFolder(folder: DomainFolder): Promise<boolean> {
  requireSocketPath(folder.consoleSocket, 'Give the domain a shorter name, or set XVD_RUN to a shorter path.');
  await mkdir(join(folder.path, '..'), { recursive: true, mode: 0o700 });
  return mkdir(folder.path, { mode: 0o700 }).then(
    () => true,
    (error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw error;
    },
  );
}

export const removeFolder = (folder: DomainFolder): Promise<void> => rm(folder.path, { recursive: true, force: true });
/** Holds the pid too: QEMU removes its pid file a moment before it is gone. */
export async function markStarted(folder: DomainFolder): Promise<number> {
  const pid = await readFile(folder.pidFile, 'utf8');
  await writeFile(folder.startedMark, pid);
  return Number(pid);
}
export const isStarted = (folder: DomainFolder): Promise<boolean> =>
  readFile(folder.startedMark).then(
    () => true,
    () => false,
  );

export async function listFolders(runFolder: string): Promise<readonly DomainFolder[]> {
  const names = await readdir(join(runFolder, 'domains')).catch(() => []);
  return names.toSorted().map((name) => domainFolder(runFolder, name));
}

/** The pid of the domain's QEMU while it lives. */
export async function livingPid(folder: DomainFolder): Promise<number | null> {
  const written = await readFile(folder.pidFile, 'utf8').catch(() => readFile(folder.startedMark, 'utf8').catch(() => ''));
  const pid = Number(written);
  return Number.isSafeInteger(pid) && pid > 0 && (await isAlive(folder, pid)) ? pid : null;
}

async function isAlive(folder: DomainFolder, pid: number): Promise<boolean> {
  return (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0').includes(folder.pidFile);
}

/** Node has no pidfd, so its end is looked for: a process whose command line is gone has closed all that it had open. */
export async function waitGone(folder: DomainFolder, pid: number, timeoutMs: number = limits.fenceMs): Promise<boolean> {
  for (const until = performance.now() + timeoutMs; await isAlive(folder, pid);) {
    if (performance.now() > until) return false;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return true;
}

/** Ends it at once, and returns when it is gone; FENCE_UNPROVED when it hangs in a dead device. */
export async function killDomain(folder: DomainFolder): Promise<void> {
  const pid = await livingPid(folder);
  if (pid === null) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
  if (!(await waitGone(folder, pid))) throw new XvdError('FENCE_UNPROVED', `QEMU of domain ${folder.name} (pid ${pid}) does not end`);
}
