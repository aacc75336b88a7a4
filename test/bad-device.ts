// For tests: a device that can be made to hang, and to fail what is written: memory of an nbdkit, as a file by FUSE.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { until } from './until.ts';

const run = promisify(execFile);

export type BadDevice = AsyncDisposable & {
  /** 8 MiB; nothing of it is in the page cache. */
  readonly path: string;
  hang(hanging: boolean): void;
  failWrites(failing: boolean): void;
  content(): Promise<Buffer>;
};

export async function openBadDevice(folder: string): Promise<BadDevice> {
  const socket = join(folder, 'nbdkit.sock');
  const path = join(folder, 'fuse', 'disk');
  const trigger = join(folder, 'writes-fail');
  mkdirSync(join(folder, 'fuse'));
  const errors = ['--filter=error', 'memory', '8M', 'error=EIO', 'error-pwrite-rate=100%', `error-file=${trigger}`];
  const nbdkit = spawn('nbdkit', ['--foreground', '--unix', socket, ...errors], { stdio: 'ignore' });
  await until('nbdkit', () => readdirSync(folder).includes('nbdkit.sock'));
  const fuse = spawn('nbdfuse', [path, `nbd+unix:///?socket=${socket}`], { stdio: 'ignore' });
  await until('the file', () => readdirSync(join(folder, 'fuse')).includes('disk'));
  return {
    path,
    hang: (hanging) => void nbdkit.kill(hanging ? 'SIGSTOP' : 'SIGCONT'),
    failWrites: (failing) => (failing ? writeFileSync(trigger, '') : rmSync(trigger)),
    async content() {
      const copy = join(folder, 'content');
      await run('nbdcopy', [`nbd+unix:///?socket=${socket}`, copy]);
      return readFileSync(copy);
    },
    async [Symbol.asyncDispose]() {
      nbdkit.kill('SIGCONT');
      await run('fusermount3', ['-u', join(folder, 'fuse')]);
      const ended = [nbdkit, fuse].map((child) => (child.exitCode === null ? once(child, 'exit') : Promise.resolve([])));
      nbdkit.kill();
      await Promise.all(ended);
    },
  };
}
