// Which processes serve a VBD: a file for each in its folder, named by its number, with its start time (field 22 of /proc/PID/stat),
// so that a number that was used again is nobody. The daemon writes it when it starts a process, and the process itself before it
// locks, negotiates or writes anything: a daemon that is killed in between leaves nobody unknown.

import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
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

function isRecorded(path: string, ticks: number): boolean {
  return existsSync(path) && Number(readFileSync(path, 'latin1')) === ticks;
}

/** Throws when it can't be written; what stood there before stands then. */
export function recordProcess({ processes }: Records, pid: number): void {
  const ticks = startTicksOf(pid);
  const path = join(processes, String(pid));
  if (ticks === null || isRecorded(path, ticks)) return;
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
    .filter((pid) => Number(readFileSync(join(processes, String(pid)), 'latin1')) === startTicksOf(pid));
}
