// Labels that are due are not in the way of the command that made them so: it leaves a process behind which writes them. A mark in
// XVD_RUN says that one is on its way and has not read the catalog yet, so that a burst of commands starts one a second, not one each.

import { closeSync, mkdirSync, openSync, statSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { limits } from '../base/limits.ts';
import { leaveProcess } from './leave-process.ts';

export type LabelWork = { readonly stateFolder: string; readonly runFolder: string };

/** Older than any process that is still on its way: that one was killed. */
const STALE_MS = 10 * limits.labelAgeMs;

const markOf = ({ runFolder }: LabelWork): string => join(runFolder, 'labels.due');

/** Whether a process now writes the labels, or is about to read what was committed before this call; false = it could not be started. */
export async function writeLabelsLater(work: LabelWork): Promise<boolean> {
  try {
    if (!mark(work)) return true;
    const program = new URL('./label-writer.ts', import.meta.url).pathname;
    return await leaveProcess(program, [JSON.stringify(work)], () => unmark(work));
  } catch {
    return false;
  }
}

/** By the process, before it reads the catalog: what is committed from now on is the next one's. */
export function unmark(work: LabelWork): void {
  try {
    unlinkSync(markOf(work));
  } catch {
    // Somebody found it stale, or the folder has gone.
  }
}

/** False when another process is on its way. */
function mark(work: LabelWork): boolean {
  const path = markOf(work);
  mkdirSync(work.runFolder, { recursive: true, mode: 0o700 });
  if (make(path)) return true;
  const made = statSync(path, { throwIfNoEntry: false });
  if (made !== undefined && Math.abs(Date.now() - made.mtimeMs) < STALE_MS) return false;
  unmark(work);
  return make(path);
}

function make(path: string): boolean {
  try {
    closeSync(openSync(path, 'wx', 0o600));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}
