// Runs: extents in a row on one device. Splitting and joining them is all of allocation's arithmetic.

import { invariant } from '../base/invariant.ts';
import { bytes, extents } from '../base/units.ts';
import type { Bytes } from '../base/units.ts';
import type { DeviceId, Run } from './types.ts';

export const runBytes = (run: Run, extentBytes: Bytes): Bytes => bytes(run.count * extentBytes);
export const runEnd = (run: Run): number => run.firstExtent + run.count;
export const overlaps = (one: Run, other: Run): boolean =>
  one.deviceId === other.deviceId && one.firstExtent < runEnd(other) && other.firstExtent < runEnd(one);

/** The head of an unowned run that covers what is missing, or all of it. */
export function takeFromUnowned(run: Run, extentBytes: Bytes, missingBytes: Bytes): Run {
  const { deviceId, firstExtent, clean } = run;
  return { deviceId, firstExtent, clean, count: extents(Math.min(run.count, Math.ceil(missingBytes / extentBytes))) };
}

/** The last extents of a disk that cover what is missing, in the order of the disk; what is kept is its head. */
export function takeTail(runs: readonly Run[], extentBytesOf: (id: DeviceId) => Bytes, missingBytes: Bytes): { kept: Run[]; taken: Run[] } {
  const kept = [...runs];
  const taken: Run[] = [];
  let missing: number = missingBytes;
  while (missing > 0) {
    const last = kept.pop();
    if (last === undefined) break;
    const count = Math.min(last.count, Math.ceil(missing / extentBytesOf(last.deviceId)));
    if (count < last.count) kept.push({ ...last, count: extents(last.count - count) });
    taken.unshift({ ...last, firstExtent: extents(runEnd(last) - count), count: extents(count) });
    missing -= count * extentBytesOf(last.deviceId);
  }
  return { kept, taken };
}

/** Neighbours of the same cleanness become one run; the order stays. */
export function joinRuns(runs: readonly Run[]): Run[] {
  const joined: Run[] = [];
  for (const run of runs) {
    invariant(run.count > 0, 'a run has at least one extent');
    const last = joined.at(-1);
    if (last !== undefined && last.deviceId === run.deviceId && runEnd(last) === run.firstExtent && last.clean === run.clean) {
      joined[joined.length - 1] = { ...last, count: extents(last.count + run.count) };
    } else joined.push(run);
  }
  return joined;
}
