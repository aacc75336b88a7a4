// What of a disk can come back: its extents of then, without those that others have had since (their bytes are gone) and
// those that have gone bad. All of it counts as dirty. Nothing is guessed: what misses an extent comes back reclaimed.

import { bytes, extents, wallMs } from '../base/units.ts';
import type { WallMs } from '../base/units.ts';
import { isLiving } from './lease.ts';
import { runEnd } from './run.ts';
import type { DeviceId, Disk, DiskId, PoolDevice, Run } from './types.ts';

export type PastDisk = { readonly disk: Disk; readonly runs: readonly Run[] };
/** Somebody had these extents at some time since then. */
export type Claim = { readonly diskId: DiskId; readonly runs: readonly Run[] };
export type Since = {
  readonly claims: readonly Claim[];
  readonly bad: readonly Run[];
  readonly devices: ReadonlyMap<DeviceId, PoolDevice>;
  readonly nowMs: WallMs;
  /** Not all that happened since is known. */
  readonly suspect: boolean;
};

/** A stretch of a device that one disk, or more than one (null), has had. */
type Stretch = { readonly first: number; readonly end: number; readonly diskId: DiskId | null };
type Stretches = ReadonlyMap<DeviceId, readonly Stretch[]>;

export function recoverDisks(past: readonly PastDisk[], since: Since): PastDisk[] {
  // Of two disks of then that claim one extent (a copy that was put together of parts) neither can be believed.
  const stretches = stretchesOf([...since.claims, ...past.map(({ disk, runs }) => ({ diskId: disk.id, runs }))]);
  const bad = stretchesOf([{ diskId: 0, runs: since.bad }]);
  return past.map(({ disk, runs }) => {
    const kept = runs
      .flatMap((run) => without(run, stretches, disk.id))
      .flatMap((run) => without(run, bad, disk.id))
      .flatMap((run) => inside(run, since.devices));
    return { disk: recoveredDisk(disk, kept, since), runs: joined(kept) };
  });
}

function recoveredDisk(disk: Disk, kept: readonly Run[], { devices, nowMs, suspect }: Since): Disk {
  const has = kept.reduce((sum, run) => sum + run.count * (devices.get(run.deviceId)?.extentBytes ?? 0), 0);
  const lostBytes = bytes(Math.max(0, disk.sizeBytes - has));
  const back = { ...disk, lostBytes, suspect: disk.suspect || suspect };
  // Only what has expired can be reclaimed.
  return lostBytes > 0 ? { ...back, preparing: false, expiresAt: isLiving(disk, nowMs) ? wallMs(nowMs) : disk.expiresAt } : back;
}

/** The stretches of each device, ascending and apart: found by walking over all ends of runs once. */
function stretchesOf(claims: readonly Claim[]): Stretches {
  const edges = new Map<DeviceId, { readonly at: number; readonly diskId: DiskId; readonly by: 1 | -1 }[]>();
  for (const { diskId, runs } of claims) {
    for (const run of runs) {
      const list = edges.get(run.deviceId) ?? [];
      edges.set(run.deviceId, list);
      list.push({ at: run.firstExtent, diskId, by: 1 }, { at: runEnd(run), diskId, by: -1 });
    }
  }
  const stretches = new Map<DeviceId, Stretch[]>();
  for (const [deviceId, list] of edges) {
    const found: Stretch[] = [];
    const open = new Map<DiskId, number>();
    let first = 0;
    for (const { at, diskId, by } of list.toSorted((a, b) => a.at - b.at)) {
      const [only] = open.keys();
      if (only !== undefined && at > first) found.push({ first, end: at, diskId: open.size === 1 ? only : null });
      first = at;
      const count = (open.get(diskId) ?? 0) + by;
      if (count === 0) open.delete(diskId);
      else open.set(diskId, count);
    }
    stretches.set(deviceId, found);
  }
  return stretches;
}

/** The pieces of a run that nobody but that disk has had. */
function without(run: Run, stretches: Stretches, diskId: DiskId): Run[] {
  const list = stretches.get(run.deviceId) ?? [];
  const pieces: Run[] = [];
  let next: number = run.firstExtent;
  for (let index = firstAfter(list, run.firstExtent); index < list.length; index += 1) {
    const stretch = list[index];
    if (stretch === undefined || stretch.first >= runEnd(run)) break;
    if (stretch.diskId === diskId) continue;
    if (stretch.first > next) pieces.push({ ...run, firstExtent: extents(next), count: extents(stretch.first - next) });
    next = Math.max(next, stretch.end);
  }
  if (next < runEnd(run)) pieces.push({ ...run, firstExtent: extents(next), count: extents(runEnd(run) - next) });
  return pieces;
}

/** Index of the first stretch that ends behind that extent. */
function firstAfter(list: readonly Stretch[], extent: number): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((list[middle]?.end ?? 0) > extent) high = middle;
    else low = middle + 1;
  }
  return low;
}

function inside(run: Run, devices: ReadonlyMap<DeviceId, PoolDevice>): Run[] {
  const end = Math.min(runEnd(run), devices.get(run.deviceId)?.extentCount ?? 0);
  return end > run.firstExtent ? [{ ...run, count: extents(end - run.firstExtent) }] : [];
}

function joined(runs: readonly Run[]): Run[] {
  const result: Run[] = [];
  for (const run of runs) {
    const last = result.at(-1);
    if (last !== undefined && last.deviceId === run.deviceId && runEnd(last) === run.firstExtent)
      result[result.length - 1] = { ...last, count: extents(last.count + run.count) };
    else result.push({ ...run, clean: false });
  }
  return result;
}
