// The folder of one served VBD in XVD_RUN, `vbd/GENERATION`: what a connection process is given, and what a later daemon
// finds to take over. What proves that a process is gone is its pipe and, for what it had in flight, its lock on the shared page; whom to
// end is known by the records (process-records.ts).

import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { execFileSync } from 'node:child_process';
import { XvdError } from '../../base/error.ts';
import { requireSocketPath } from '../../base/socket-path.ts';
import type { Generation, VbdPlan } from '../../core/types.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { COUNTERS_BYTES } from './counters.ts';

/** No process has this number or a higher one (PID_MAX_LIMIT of 64-bit Linux). */
const PIDS = 2 ** 22;

export type VbdFolder = {
  readonly path: string;
  readonly socket: string;
  readonly plan: string;
  readonly alive: string;
  readonly shared: string;
  readonly counters: string;
  readonly poisoned: string;
  readonly log: string;
  readonly processes: string;
};

/** Of the socket; null = as it is. */
export type SocketAccess = { readonly mode: number; readonly uid: number | null; readonly gid: number | null };

export const vbdFolder = (runFolder: string, generation: Generation): VbdFolder => folderAt(join(runFolder, 'vbd', String(generation)));

export function folderAt(path: string): VbdFolder {
  return {
    path,
    socket: join(path, 'nbd.sock'),
    plan: join(path, 'plan.json'),
    alive: join(path, 'alive'),
    shared: join(path, 'shared'),
    counters: join(path, 'counters'),
    poisoned: join(path, 'poisoned'),
    log: join(path, 'log'),
    processes: join(path, 'processes'),
  };
}

export function makeFolder(folder: VbdFolder, plan: VbdPlan, sharedBytes: number, syscalls: Syscalls | null): void {
  requireSocketPath(folder.socket);
  makeFiles(folder, plan, sharedBytes);
  if (!existsSync(folder.alive)) makePipe(folder.alive, syscalls);
}

/** What a connection process opens, besides what it is given. */
export function makeFiles(folder: VbdFolder, plan: VbdPlan, sharedBytes: number): void {
  mkdirSync(folder.processes, { recursive: true, mode: 0o700 });
  // Put in place whole: connections of an earlier daemon may be reading it.
  putWhole(folder.plan, JSON.stringify(plan));
  for (const [path, bytes] of [[folder.shared, sharedBytes] as const, [folder.counters, COUNTERS_BYTES] as const])
    if (!existsSync(path)) putWhole(path, new Uint8Array(bytes));
}

/** Also when the filesystem is full: who maps a file that ends too soon is killed. */
function putWhole(path: string, data: string | Uint8Array): void {
  writeFileSync(`${path}.new`, data, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

function makePipe(path: string, syscalls: Syscalls | null): void {
  if (syscalls === null) return void execFileSync('mkfifo', ['-m', '600', path]);
  const result = syscalls.mkfifo(path, 0o600);
  if (result < 0)
    throw new XvdError('NOT_SUPPORTED', `no pipe can be made at ${path} (error ${-result})`, { fix: 'Set XVD_RUN to a folder of a local filesystem.' });
}

/** The socket as it may be connected to; whoever may, may also go through the folders on the way, but look into none of them. */
export function openTo(folder: VbdFolder, runFolder: string, access: SocketAccess | null): void {
  const { mode, uid, gid } = access ?? { mode: 0o600, uid: null, gid: null };
  if (uid !== null || gid !== null) giveTo(folder.socket, uid, gid);
  chmodSync(folder.socket, mode);
  if (access === null) return chmodSync(folder.path, statSync(folder.path).mode & 0o7766);
  for (const path of [runFolder, dirname(folder.path), folder.path]) chmodSync(path, (statSync(path).mode & 0o7777) | 0o011);
}

function giveTo(path: string, uid: number | null, gid: number | null): void {
  const now = statSync(path);
  try {
    chownSync(path, uid ?? now.uid, gid ?? now.gid);
  } catch (error) {
    throw new XvdError('NOT_PERMITTED', `${path} can't be given to ${uid ?? ''}:${gid ?? ''}: ${(error as Error).message}`, {
      cause: error,
      fix: 'Run the daemon as root, or leave nbd_socket_owner out.',
    });
  }
}

/** The pipe first: without it nobody is to be proved gone, also when the rest is not removed any more. */
export function removeFolder(folder: VbdFolder): void {
  rmSync(folder.alive, { force: true });
  rmSync(folder.path, { recursive: true, force: true });
}

export function generationsIn(runFolder: string): Generation[] {
  const parent = join(runFolder, 'vbd');
  if (!existsSync(parent)) return [];
  return readdirSync(parent).flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : []));
}

/** End of file on the pipe: no process has its write end. */
export function pipeIsGone(path: string): boolean {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    return readsEnd(fd);
  } finally {
    closeSync(fd);
  }
}

export function readsEnd(fd: number): boolean {
  try {
    return readSync(fd, new Uint8Array(1)) === 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return false;
    throw error;
  }
}

/**
 * Processes whose memory is not taken apart yet, whatever else is left of them: writes in flight may still land. Each has locked the
 * byte of its number in the shared page, which it keeps mapped.
 */
export function withMemory(folder: VbdFolder, syscalls: Syscalls | null): number[] {
  // Where this process lacks them, so do the connections of its installation, and nothing of theirs outlives a descriptor.
  if (syscalls === null) return [];
  if (!existsSync(folder.shared)) throw new XvdError('FENCE_UNPROVED', `${folder.shared} has gone, and with it the proof that nothing is in flight`);
  const fd = openSync(folder.shared, 'r');
  try {
    const pids: number[] = [];
    const open: [from: number, to: number][] = [[0, PIDS]];
    for (let range = open.pop(); range !== undefined; range = open.pop()) {
      const pid = syscalls.lockedWithin(fd, ...range);
      if (pid === null) continue;
      if (pid < 0) throw new XvdError('FENCE_UNPROVED', `the locks of ${folder.shared} can't be asked for (error ${-pid})`);
      pids.push(pid);
      open.push([range[0], pid], [pid + 1, range[1]]);
    }
    return pids;
  } finally {
    closeSync(fd);
  }
}
