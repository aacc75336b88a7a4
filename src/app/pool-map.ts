// Who has what of each device, run by run: the picture of the pool as data.

import { XvdError } from '../base/error.ts';
import type { CatalogReader } from '../catalog/catalog.ts';
import { diskState } from '../core/lease.ts';
import type { Disk, DiskId, PoolDevice, Run } from '../core/types.ts';
import { look } from './change.ts';
import type { Now } from './change.ts';
import type { CatalogSystem } from './system.ts';

/** `expired`: over, and still whole; `reclaimed`: what is left of a disk of which others have the rest; `reserved`: over, but
 *  still in reach of a VBD, wiper or copy; `unused`: nobody's. */
export type MapKind = 'living' | 'preparing' | 'expired' | 'reclaimed' | 'reserved' | 'unused' | 'bad';
export type MapRun = {
  readonly firstExtent: number;
  readonly extents: number;
  readonly kind: MapKind;
  readonly disk: string | null;
  readonly name: string | null;
  readonly clean: boolean;
};
export type DeviceMapInfo = {
  readonly device: string;
  readonly pool: string;
  readonly extentBytes: number;
  readonly extents: number;
  readonly runs: readonly MapRun[];
};

/** Ascending by extent, without gaps. DEVICE_NOT_FOUND when `device` is no path or UUID of the pool. */
export function poolMap(system: CatalogSystem, options: { readonly device?: string } = {}): Promise<{ readonly devices: readonly DeviceMapInfo[] }> {
  return look(system, async (reader, now) => {
    const all = await reader.devices();
    const devices = options.device === undefined ? all : all.filter(({ path, uuid }) => path === options.device || uuid === options.device);
    if (options.device !== undefined && devices.length === 0) throw new XvdError('DEVICE_NOT_FOUND', `${options.device} is not in the pool`);
    const runs = new Map<number, MapRun[]>(devices.map(({ id }) => [id, []]));
    await addOwned(reader, now, runs);
    for (const run of await reader.badRuns()) runs.get(run.deviceId)?.push(mapRun(run, 'bad', null));
    for (const { id } of devices) for (const run of await reader.unownedRuns(id)) runs.get(id)?.push(mapRun(run, 'unused', null));
    return { devices: devices.map((device) => deviceMapInfo(device, runs.get(device.id) ?? [])) };
  });
}

async function addOwned(reader: CatalogReader, now: Now, runs: ReadonlyMap<number, MapRun[]>): Promise<void> {
  const disks = new Map<DiskId, Disk>((await reader.disks({ which: 'all', now: now.now })).map((disk) => [disk.id, disk]));
  const reached = new Set((await reader.vbds()).flatMap(({ source }) => (source.kind === 'vd' ? [source.diskId] : [])));
  for (const { diskId } of await reader.workers()) reached.add(diskId);
  for (const run of await reader.ownedRuns()) {
    const disk = disks.get(run.diskId);
    if (disk !== undefined) runs.get(run.deviceId)?.push(mapRun(run, kindOf(disk, now, reached), disk));
  }
}

function kindOf(disk: Disk, { now }: Now, reached: ReadonlySet<DiskId>): MapKind {
  const state = diskState(disk, now);
  if (state === 'live') return 'living';
  if (state === 'preparing') return 'preparing';
  return reached.has(disk.id) ? 'reserved' : state;
}

const mapRun = (run: Run, kind: MapKind, disk: Disk | null): MapRun => ({
  firstExtent: run.firstExtent,
  extents: run.count,
  kind,
  disk: disk === null ? null : `vd:${disk.id}`,
  name: disk?.name ?? null,
  clean: run.clean,
});

const deviceMapInfo = ({ path, pool, extentBytes, extentCount }: PoolDevice, runs: readonly MapRun[]): DeviceMapInfo => ({
  device: path,
  pool,
  extentBytes,
  extents: extentCount,
  runs: runs.toSorted((a, b) => a.firstExtent - b.firstExtent),
});
