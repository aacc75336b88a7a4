// The qemu-storage-daemon of one VBD: an NBD client that shows the endpoint as a file through FUSE, and waits for a server
// that went away. It belongs to nobody: it outlives this process and is found again by the folder in its arguments.

import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { XvdError } from '../../base/error.ts';
import type { Programs } from '../../host/programs.ts';

export type StorageDaemonOptions = {
  readonly socketPath: string;
  readonly exportName: string;
  readonly writable: boolean;
  /** The regular file that shows the bytes. */
  readonly exportFile: string;
  readonly pidFile: string;
};

/** How long I/O waits for a server that is being replaced, before it fails. */
const RECONNECT_SECONDS = 120;
const END_MS = 5_000;

const quoted = (value: string): string => value.replaceAll(',', ',,');

/** Returns when the file shows the bytes. */
export async function startStorageDaemon(programs: Programs, options: StorageDaemonOptions): Promise<void> {
  const { socketPath, exportName, writable, exportFile, pidFile } = options;
  await writeFile(exportFile, '', { mode: 0o600 });
  const mode = writable ? 'off' : 'on';
  const args = [
    '--daemonize',
    '--pidfile',
    pidFile,
    '--blockdev',
    `driver=nbd,node-name=vbd,read-only=${mode},cache.direct=on,reconnect-delay=${RECONNECT_SECONDS},server.type=unix,server.path=${quoted(socketPath)},export=${quoted(exportName)}`,
    '--export',
    `type=fuse,id=vbd,node-name=vbd,mountpoint=${quoted(exportFile)},writable=${writable ? 'on' : 'off'},growable=off`,
  ];
  await programs.run('qemu-storage-daemon', args, { flusher: true });
}

/** Its pids, newest or not: a process whose arguments name that pid file. */
export async function findStorageDaemons(pidFile: string): Promise<readonly number[]> {
  const pids: number[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const args = (await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '')).split('\0');
    if (args[0]?.endsWith('qemu-storage-daemon') === true && args.includes(pidFile)) pids.push(Number(name));
  }
  return pids;
}

/**
 * Ends it and waits until it is gone. `abruptly`: what it still has in hand fails at once, and its file stays mounted, so that
 * the loop device on it can still be told by its name: unmountExport() comes after that.
 */
export async function endStorageDaemon(pidFile: string, abruptly: boolean): Promise<void> {
  for (const signal of abruptly ? (['SIGKILL'] as const) : (['SIGTERM', 'SIGKILL'] as const)) {
    for (const pid of await findStorageDaemons(pidFile)) sendSignal(pid, signal);
    if (await goneWithin(pidFile, END_MS)) return;
  }
  throw new XvdError('FENCE_UNPROVED', `the qemu-storage-daemon of ${pidFile} does not end`);
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended in between.
  }
}

async function goneWithin(pidFile: string, timeoutMs: number): Promise<boolean> {
  for (const end = Date.now() + timeoutMs; ;) {
    if ((await findStorageDaemons(pidFile)).length === 0) return true;
    if (Date.now() > end) return false;
    await delay(10);
  }
}

/** It unmounts its file itself, unless it was killed. */
export async function unmountExport(programs: Programs, exportFile: string): Promise<void> {
  for (let round = 0; round < 4; round += 1) {
    if (!(await isExported(exportFile))) return;
    await programs.run('umount', ['--lazy', exportFile]).catch(() => undefined);
  }
}

export async function isExported(exportFile: string): Promise<boolean> {
  const escaped = exportFile.replaceAll('\\', '\\134').replaceAll(' ', '\\040').replaceAll('\t', '\\011').replaceAll('\n', '\\012');
  return (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').some((line) => line.split(' ')[4] === escaped);
}

/** The file answers: its server's process lives, and FUSE is connected. */
export async function exportAnswers(exportFile: string): Promise<boolean> {
  return (
    (await isExported(exportFile)) &&
    (await stat(exportFile).then(
      () => true,
      () => false,
    ))
  );
}
