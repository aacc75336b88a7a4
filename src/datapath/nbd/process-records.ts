// Which processes serve a VBD: a file for each in its folder, named by its number, with its start time (field 22 of /proc/PID/stat),
// so that a number that was used again is nobody. The daemon writes it when it starts a process, and the process itself before it
// locks, negotiates or writes anything: a daemon that is killed in between leaves nobody unknown.

import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { XvdError } from '../../base/error.ts';
import type { VbdFolder } from './vbd-folder.ts';

type Records = Pick<VbdFolder, 'processes'>;

/** null when there is no such process. */
function startTicksOf(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
  } catch {
    return null;
  }
}

/** null when there is no such record: a process may be forgotten by another one at any moment. */
function recordedTicks(path: string): number | null {
  try {
    return Number(readFileSync(path, 'latin1'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/**
 * Who has ended by now is not recorded. Throws when a record can't be written; what stood there before stands then.
 * A process that can't read its own start time must not go on: no daemon would know it.
 */
export function recordProcess({ processes }: Records, pid: number): void {
  const ticks = startTicksOf(pid);
  if (ticks === null && pid === process.pid) throw new XvdError('INTERNAL', `/proc/${pid}/stat can't be read, so no record of this process can be made`);
  const path = join(processes, String(pid));
  if (ticks === null || recordedTicks(path) === ticks) return;
  // Put in place whole, each writer's own: the process and its daemon may write at once, and be killed half-way.
  const own = `${path}.by-${process.pid}`;
  try {
    writeFileSync(own, String(ticks), { mode: 0o600 });
    renameSync(own, path);
  } catch (error) {
    rmSync(own, { force: true });
    throw error;
  }
}

export const forgetProcess = ({ processes }: Records, pid: number): void => rmSync(join(processes, String(pid)), { force: true });

/** Processes that are still the ones recorded: a pid that was used again is not. */
export function livingProcesses({ processes }: Records): number[] {
  if (!existsSync(processes)) return [];
  return readdirSync(processes)
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      const ticks = recordedTicks(join(processes, String(pid)));
      return ticks !== null && ticks === startTicksOf(pid);
    });
}
