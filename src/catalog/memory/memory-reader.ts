// Reads of the catalog in memory: plain passes over plain data, so that it can be the model for others.

import { bytes } from '../../base/units.ts';
import type { Bytes } from '../../base/units.ts';
import type { Disk, DiskId, Run } from '../../core/types.ts';
import type { CatalogReader, DeviceUsage, DiskFilter, FreeRun, OwnedRun } from '../catalog.ts';
import type { State } from './state.ts';

export function memoryReader(state: () => State, eventsKept: number): CatalogReader {
  return {
    catalogId: async () => state().catalogId,
    commitNumber: async () => state().commitNumber,
    highest: async () => ({ disk: state().next.disk - 1, generation: state().next.generation - 1, event: state().next.event - 1 }),
    lastClock: async () => state().clock,
    disk: async (id) => state().disks.get(id) ?? null,
    diskByName: async (name) => [...state().disks.values()].find((disk) => disk.name === name) ?? null,
    disks: async (filter) => page(state(), filter),
    nextExpiries: async (after, limit) =>
      [...state().disks.values()]
        .filter((disk) => disk.expiresAt !== null && disk.expiresAt > after)
        .toSorted(byExpiry)
        .slice(0, limit),
    vbds: async (filter = {}) =>
      [...state().vbds.values()].filter(
        (vbd) =>
          (filter.domain === undefined || vbd.domain === filter.domain) &&
          (filter.diskId === undefined || (vbd.source.kind === 'vd' && vbd.source.diskId === filter.diskId)),
      ),
    vbd: async (generation) => state().vbds.get(generation) ?? null,
    workers: async (diskId) => [...state().workers.values()].filter((worker) => diskId === undefined || worker.diskId === diskId),
    intents: async () => [...state().intents.values()],
    events: async (afterId, limit) => {
      const { events, next } = state();
      return events.filter((event) => event.id > afterId && event.id >= next.event - eventsKept).slice(0, limit);
    },
    history: async (sinceEvent) =>
      state()
        .history.filter((entry) => entry.nextEventId > Math.max(sinceEvent, state().next.event - eventsKept))
        .toReversed(),
    ...spaceReader(state),
  };
}

type SpaceReader = Pick<
  CatalogReader,
  | 'devices'
  | 'device'
  | 'usage'
  | 'runs'
  | 'unownedRuns'
  | 'ownedRuns'
  | 'ownedRunsOn'
  | 'badRuns'
  | 'smallestUnowned'
  | 'longestUnowned'
  | 'nextReclaimable'
  | 'allocatableBytes'
>;

const ownedOf = ({ runs }: State): OwnedRun[] =>
  [...runs].flatMap(([diskId, own]) => own.map((run, position) => ({ ...run, diskId, position }))).toSorted(byPlace);

const spaceReader = (state: () => State): SpaceReader => ({
  devices: async () => [...state().devices.values()],
  device: async (id) => state().devices.get(id) ?? null,
  usage: async (now) => usage(state(), now),
  runs: async (diskId) => state().runs.get(diskId) ?? [],
  unownedRuns: async (deviceId) => state().unowned.get(deviceId) ?? [],
  ownedRuns: async () => ownedOf(state()),
  ownedRunsOn: async (deviceId, limit) =>
    ownedOf(state())
      .filter((run) => run.deviceId === deviceId)
      .slice(0, limit),
  badRuns: async () => [...state().bad.values()].flat().toSorted(byPlace),
  smallestUnowned: async (pool, blockBytes, atLeastBytes) =>
    unownedOf(state(), pool, blockBytes)
      .filter((run) => run.bytes >= atLeastBytes)
      .toSorted((a, b) => a.bytes - b.bytes || byPlace(a, b))[0] ?? null,
  longestUnowned: async (pool, blockBytes) => unownedOf(state(), pool, blockBytes).toSorted((a, b) => b.bytes - a.bytes || byPlace(a, b))[0] ?? null,
  nextReclaimable: async (pool, blockBytes, expiredBy) => reclaimableOf(state(), pool, blockBytes, expiredBy)[0] ?? null,
  allocatableBytes: async (pool, blockBytes, expiredBy) => {
    const unowned = unownedOf(state(), pool, blockBytes).reduce((sum, run) => sum + run.bytes, 0);
    const held = reclaimableOf(state(), pool, blockBytes, expiredBy).flatMap((disk) => state().runs.get(disk.id) ?? []);
    return bytes(held.reduce((sum, run) => sum + bytesOf(state(), run), unowned));
  },
});

const byPlace = (a: Run, b: Run): number => a.deviceId - b.deviceId || a.firstExtent - b.firstExtent;
const byExpiry = (a: Disk, b: Disk): number => (a.expiresAt ?? 0) - (b.expiresAt ?? 0) || a.id - b.id;
const bytesOf = (state: State, run: Run): number => run.count * (state.devices.get(run.deviceId)?.extentBytes ?? 0);
const expired = (disk: Disk, now: number): boolean => disk.expiresAt !== null && disk.expiresAt <= now;

const reached = (state: State, id: DiskId): boolean =>
  [...state.vbds.values()].some((vbd) => vbd.source.kind === 'vd' && vbd.source.diskId === id) ||
  [...state.workers.values()].some((worker) => worker.diskId === id);

function unownedOf(state: State, pool: string, blockBytes: number): FreeRun[] {
  return [...state.unowned].flatMap(([deviceId, runs]) => {
    const device = state.devices.get(deviceId);
    if (device === undefined || device.pool !== pool || device.blockBytes !== blockBytes) return [];
    return runs.map((run) => ({ ...run, extentBytes: device.extentBytes, bytes: bytes(run.count * device.extentBytes) }));
  });
}

const reclaimableOf = (state: State, pool: string, blockBytes: number, expiredBy: number): Disk[] =>
  [...state.disks.values()]
    .filter(
      (disk) =>
        disk.pool === pool &&
        disk.blockBytes === blockBytes &&
        expired(disk, expiredBy) &&
        (state.runs.get(disk.id) ?? []).length > 0 &&
        !reached(state, disk.id),
    )
    .toSorted(byExpiry);

function page(state: State, { which, now, label, afterId = 0, limit = Number.MAX_SAFE_INTEGER }: DiskFilter): Disk[] {
  return [...state.disks.values()]
    .filter((disk) => which === 'all' || expired(disk, now) === (which === 'expired'))
    .filter((disk) => label === undefined || (Object.hasOwn(disk.labels, label.key) && disk.labels[label.key] === label.value))
    .filter((disk) => disk.id > afterId)
    .slice(0, limit);
}

function usage(state: State, now: number): Map<number, DeviceUsage> {
  const result = new Map<number, DeviceUsage>();
  for (const device of state.devices.values()) {
    const sum = (runs: readonly Run[]): Bytes =>
      bytes(runs.filter((run) => run.deviceId === device.id).reduce((total, run) => total + run.count * device.extentBytes, 0));
    const owned = [...state.runs].flatMap(([id, runs]) => {
      const disk = state.disks.get(id);
      const kind = disk === undefined || !expired(disk, now) ? 'used' : reached(state, id) ? 'reserved' : 'reclaimable';
      return runs.map((run) => ({ ...run, kind }));
    });
    const of = (kind: string): Bytes => sum(owned.filter((run) => run.kind === kind));
    const unowned = state.unowned.get(device.id) ?? [];
    result.set(device.id, {
      usedBytes: of('used'),
      freeBytes: bytes(of('reclaimable') + sum(unowned)),
      reservedBytes: of('reserved'),
      badBytes: sum(state.bad.get(device.id) ?? []),
      cleanBytes: sum([...owned, ...unowned].filter((run) => run.clean)),
      reclaimableBytes: of('reclaimable'),
    });
  }
  return result;
}
