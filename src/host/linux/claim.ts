// Claims of spaces by flock(2) on files in XVD_RUN, one file a space: the kernel ends a claim with the process that has it.
// Without koffi there are none.

import { closeSync, openSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { XvdError } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import { lockFile } from './kernel-calls.ts';

const LOOK_AGAIN_MS = 20;

export async function claimSpaces(runFolder: string, spaces: readonly string[]): Promise<AsyncDisposable> {
  const folder = join(runFolder, 'claims');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const held: number[] = [];
  const release = (): void => {
    for (const fd of held.splice(0)) closeSync(fd);
  };
  try {
    // In one order, or two could wait for each other.
    for (const space of [...new Set(spaces)].toSorted()) held.push(await claimOne(join(folder, space.replaceAll(/[^A-Za-z0-9:]/g, '-')), space));
  } catch (error) {
    release();
    throw error;
  }
  return { [Symbol.asyncDispose]: async () => release() };
}

async function claimOne(path: string, space: string): Promise<number> {
  const fd = openSync(path, 'a', 0o600);
  for (const until = performance.now() + limits.claimMs; !lockFile(fd);) {
    if (performance.now() > until) {
      closeSync(fd);
      throw new XvdError('DEVICE_BUSY', `another command is formatting, unformatting or attaching ${space}`, { fix: 'Wait for it to end.' });
    }
    await pause(LOOK_AGAIN_MS);
  }
  return fd;
}
