// Proof of life by pipes: a process holds the write end of a named pipe in XVD_RUN open as long as it lives, however it ends.
// End of file on the pipe is the proof that every holder is gone, for any process that asks.

import { constants, readFileSync } from 'node:fs';
import { mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { XvdError } from '../../base/error.ts';
import type { AliveMark } from '../host.ts';
import { makeFifo } from './kernel-calls.ts';

export async function holdAlive(runFolder: string, pipe: string): Promise<AliveMark> {
  const path = join(runFolder, pipe);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  for (;;) {
    if (!makeFifo(path)) throw new XvdError('NOT_PERMITTED', `the pipe ${path} can't be made`);
    // Read and write: opening the write end alone would wait for a reader.
    const handle = await open(path, constants.O_RDWR | constants.O_NONBLOCK).catch(unlessMissing);
    if (handle === null) continue;
    const there = await stat(path).catch(unlessMissing);
    if (there?.ino === (await handle.stat()).ino) return { pid: process.pid, startTicks: startTicks(), [Symbol.asyncDispose]: () => handle.close() };
    // Taken for a forgotten one between the two calls: another is made.
    await handle.close();
  }
}

function unlessMissing(error: unknown): null {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
  throw error;
}

export async function aliveIsGone(runFolder: string, pipe: string): Promise<boolean> {
  const handle = await open(join(runFolder, pipe), constants.O_RDONLY | constants.O_NONBLOCK).catch(() => null);
  if (handle === null) return false;
  try {
    return (await handle.read(Buffer.alloc(1), 0, 1, null)).bytesRead === 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return false; // a writer holds it
    throw error;
  } finally {
    await handle.close();
  }
}

export const forgetAlive = (runFolder: string, pipe: string): Promise<void> => rm(join(runFolder, pipe), { force: true });

export async function alivePipes(runFolder: string, prefix: string): Promise<readonly string[]> {
  const entries = await readdir(runFolder, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isFIFO() && entry.name.startsWith(prefix)).map(({ name }) => name);
}

/** Of this process, in ticks since boot: pid and this are never used twice together. */
function startTicks(): number {
  const line = readFileSync('/proc/self/stat', 'utf8');
  return Number(line.slice(line.lastIndexOf(')') + 2).split(' ')[19]);
}
