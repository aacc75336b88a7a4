// One daemon per catalog, and per folder of sockets, by a lock in it: a socket in Linux's abstract namespace would be per network namespace, so it
// is flock(2) on a file, which ends with the process that has it, however it ends.

import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { XvdError } from '../base/error.ts';
import type { Syscalls } from '../host/syscalls.ts';

const EAGAIN = 11;

const lockOf = (folder: string): string => join(folder, 'daemon.lock');

export async function lockDaemon(folder: string, syscalls: Syscalls | null): Promise<AsyncDisposable> {
  if (syscalls === null) throw new XvdError('NOT_SUPPORTED', 'the daemon needs flock(2), and koffi has no binary for this machine');
  const path = lockOf(folder);
  const fd = openLock(path);
  const result = syscalls.lockExclusive(fd);
  if (result !== 0) {
    closeSync(fd);
    if (result !== -EAGAIN)
      throw new XvdError('NOT_SUPPORTED', `${path} can't be locked (error ${-result})`, { fix: 'Put XVD_STATE and XVD_RUN on local filesystems.' });
    const pid = readFileSync(path, 'utf8').trim();
    throw new XvdError('DAEMON_RUNNING', `a daemon${pid === '' ? '' : ` (process ${pid})`} uses ${folder} already`);
  }
  tellPid(path);
  return {
    async [Symbol.asyncDispose]() {
      closeSync(fd);
    },
  };
}

function openLock(path: string): number {
  try {
    return openSync(path, 'a+', 0o600);
  } catch (error) {
    const full = error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
    throw new XvdError(full ? 'CATALOG_DISK_FULL' : 'NOT_PERMITTED', `${path} can't be made: ${(error as Error).message}`, { cause: error });
  }
}

/** For the message of the next one; a full filesystem has no room for it, and the lock holds without. */
function tellPid(path: string): void {
  try {
    writeFileSync(path, `${process.pid}\n`);
  } catch {
    // As said above.
  }
}

/** Whether a daemon seems to have the folder: by what the last one wrote into its lock, without asking for it. */
export function daemonSeemsThere(folder: string): boolean {
  try {
    return existsSync(`/proc/${Number(readFileSync(lockOf(folder), 'utf8'))}`);
  } catch {
    return false;
  }
}
