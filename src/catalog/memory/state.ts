// The catalog as plain data. A write works on a copy, so that a write that throws has changed nothing; what the maps hold is
// readonly and replaced, never changed, so that a shallow copy is enough.

import type { ClockMark } from '../../base/clock.ts';
import type { WallMs } from '../../base/units.ts';
import type { DeviceId, Disk, DiskId, Generation, Intent, PoolDevice, Run, Vbd, XvdEvent } from '../../core/types.ts';
import type { ExtentWorker, HistoryEntry } from '../catalog.ts';

export type State = {
  catalogId: string;
  commitNumber: number;
  clock: { readonly reading: ClockMark; readonly trustedMs: WallMs } | null;
  next: { device: number; disk: number; generation: number; worker: number; event: number };
  readonly devices: Map<DeviceId, PoolDevice>;
  readonly disks: Map<DiskId, Disk>;
  /** In the order of the disk. */
  readonly runs: Map<DiskId, readonly Run[]>;
  /** Of each device, ascending. */
  readonly unowned: Map<DeviceId, readonly Run[]>;
  readonly bad: Map<DeviceId, readonly Run[]>;
  readonly vbds: Map<Generation, Vbd>;
  readonly workers: Map<number, ExtentWorker>;
  /** By kind and key. */
  readonly intents: Map<string, Intent>;
  readonly events: XvdEvent[];
  readonly history: HistoryEntry[];
};

export const emptyState = (catalogId: string): State => ({
  catalogId,
  commitNumber: 0,
  clock: null,
  next: { device: 1, disk: 1, generation: 1, worker: 1, event: 1 },
  devices: new Map(),
  disks: new Map(),
  runs: new Map(),
  unowned: new Map(),
  bad: new Map(),
  vbds: new Map(),
  workers: new Map(),
  intents: new Map(),
  events: [],
  history: [],
});

export const copyState = (state: State): State => ({
  catalogId: state.catalogId,
  commitNumber: state.commitNumber,
  clock: state.clock,
  next: { ...state.next },
  devices: new Map(state.devices),
  disks: new Map(state.disks),
  runs: new Map(state.runs),
  unowned: new Map(state.unowned),
  bad: new Map(state.bad),
  vbds: new Map(state.vbds),
  workers: new Map(state.workers),
  intents: new Map(state.intents),
  events: [...state.events],
  history: [...state.history],
});

/** I1 over all of it: every extent of every device is in exactly one place. One line a problem. */
export function misplaced(state: State): string[] {
  const problems: string[] = [];
  const places = Map.groupBy([...state.runs.values(), ...state.unowned.values(), ...state.bad.values()].flat(), (run) => run.deviceId);
  for (const device of state.devices.values()) {
    let expected = 0;
    for (const run of (places.get(device.id) ?? []).toSorted((a, b) => a.firstExtent - b.firstExtent)) {
      if (run.firstExtent !== expected) problems.push(`extents ${Math.min(expected, run.firstExtent)}.. of device ${device.id} have no place, or two`);
      expected = run.firstExtent + run.count;
    }
    if (expected !== device.extentCount) problems.push(`the last extents of device ${device.id} have no place, or lie outside`);
  }
  for (const id of places.keys()) if (!state.devices.has(id)) problems.push(`runs of device ${id}, which is not in the catalog`);
  return problems;
}
