// The loop device over the export file of a VBD: makes a block device of a file. The kernel's own account in /sys says which
// loop device is on which file.

import { open, readdir, readFile } from 'node:fs/promises';
import { constants } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { XvdError } from '../../base/error.ts';
import type { Programs } from '../../host/programs.ts';

export type LoopOptions = { readonly file: string; readonly writable: boolean; readonly blockBytes: number };

/**
 * Gives `/dev/loopN`. Never with direct I/O: over FUSE, writes of less than a page then reached the wrong bytes (measured on
 * Linux 6.18: about half of all fresh ext4 filesystems were damaged; none of any without it). FUSE writes through, so a
 * flush still means what it says.
 */
export async function attachLoop(programs: Programs, { file, writable, blockBytes }: LoopOptions): Promise<string> {
  const args = ['--find', '--show', '--direct-io=off', '--sector-size', String(blockBytes), ...(writable ? [] : ['--read-only']), file];
  return (await programs.run('losetup', args)).stdout.trim();
}

/** All loop devices on that file: one, or none; two only after a crash in the middle. */
export async function findLoops(file: string): Promise<readonly string[]> {
  const found: string[] = [];
  for (const name of await readdir('/sys/block')) {
    if (!name.startsWith('loop')) continue;
    const backing = (await readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(() => '')).replace(/\n$/, '');
    if (backing === file || backing === `${file} (deleted)`) found.push(`/dev/${name}`);
  }
  return found;
}

/**
 * Writes back what is in its cache, then lets the file go. Nobody else can mount it meanwhile: it is held exclusively.
 * VBD_BUSY when somebody holds it already; HYPERVISOR_FAILED when what was written can't be flushed.
 */
export async function detachLoop(programs: Programs, loop: string, file: string, flushMs: number): Promise<void> {
  const handle = await openExclusively(loop);
  try {
    await flush(handle.sync(), loop, flushMs);
    await programs.run('losetup', ['--detach', loop]); // takes effect when the last one closes it: us
  } finally {
    // Not awaited when a flush hangs: closing waits for it.
    void handle.close().catch(() => undefined);
  }
  if (!(await letGo(loop, file))) throw new XvdError('VBD_BUSY', `${loop} was opened by somebody while it was being detached`);
}

/** Without flush: its I/O fails already. The kernel frees it when its last user lets go. */
export async function abandonLoop(programs: Programs, loop: string): Promise<void> {
  await programs.run('losetup', ['--detach', loop]).catch(() => undefined);
}

export async function openExclusively(path: string): ReturnType<typeof open> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_EXCL);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EBUSY') throw new XvdError('VBD_BUSY', `${path} is held by the kernel for somebody`, { cause: error });
    throw new XvdError('HYPERVISOR_FAILED', `${path} can't be opened: ${(error as Error).message}`, { cause: error });
  }
}

export async function flush(flushed: Promise<void>, path: string, flushMs: number): Promise<void> {
  const timer = new AbortController();
  const late = delay(flushMs, 'late' as const, { signal: timer.signal }).catch(() => 'late' as const);
  try {
    const outcome = await Promise.race([flushed, late]);
    if (outcome === 'late')
      throw new XvdError('HYPERVISOR_FAILED', `what was written to ${path} is not flushed after ${flushMs} ms`, {
        fix: 'See whether its device answers; --force gives up what was not flushed.',
      });
  } catch (error) {
    if (error instanceof XvdError) throw error;
    throw new XvdError('HYPERVISOR_FAILED', `what was written to ${path} can't be flushed: ${(error as Error).message}`, {
      cause: error,
      fix: 'See its events; --force gives up what was not flushed.',
    });
  } finally {
    timer.abort();
    flushed.catch(() => undefined);
  }
}

async function letGo(loop: string, file: string): Promise<boolean> {
  for (let round = 0; round < 200; round += 1) {
    if (!(await findLoops(file)).includes(loop)) return true;
    await delay(10);
  }
  return false;
}
