// One daemon per catalog, by a lock beside it: a socket in Linux's abstract namespace would be per network namespace, so it
// is flock(2) on a file, which ends with the process that has it, however it ends.

import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { XvdError } from '../base/error.ts';

const LOCK_EX = 2;
const LOCK_NB = 4;

export async function lockDaemon(stateFolder: string): Promise<AsyncDisposable> {
  const path = join(stateFolder, 'daemon.lock');
  const fd = openSync(path, 'a+', 0o600);
  if (!flock(fd)) {
    closeSync(fd);
    const pid = readFileSync(path, 'utf8').trim();
    throw new XvdError('DAEMON_RUNNING', `a daemon${pid === '' ? '' : ` (process ${pid})`} serves the catalog of ${stateFolder} already`);
  }
  writeFileSync(path, `${process.pid}\n`);
  return {
    async [Symbol.asyncDispose]() {
      closeSync(fd);
    },
  };
}

function flock(fd: number): boolean {
  const koffi = createRequire(import.meta.url)('koffi') as { load(path: string): { func(signature: string): (fd: number, operation: number) => number } };
  return koffi.load('libc.so.6').func('int flock(int fd, int operation)')(fd, LOCK_EX | LOCK_NB) === 0;
}
