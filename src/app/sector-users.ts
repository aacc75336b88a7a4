// Who uses which sectors, as the catalog tells: VBDs, wipers, image copies and the pool. (The host and the hypervisors tell the rest.)

import type { XvdError } from '../base/error.ts';
import { sectors } from '../base/units.ts';
import type { CatalogReader } from '../catalog/catalog.ts';
import { extentList } from '../core/mapping.ts';
import type { DeviceId, Disk, Footprint, PoolDevice, Run, SectorRange, SectorUser, Vbd } from '../core/types.ts';
import type { DeviceFacts } from '../host/host.ts';
import { sourceName } from './info.ts';
import { inspectIfThere, locateDevice } from './locate-device.ts';
import type { CatalogSystem } from './system.ts';

/** What the host tells of devices, looked up once for a check. */
export type Places = {
  readonly byDevice: ReadonlyMap<DeviceId, DeviceFacts>;
  readonly byPath: ReadonlyMap<string, DeviceFacts>;
  /** Devices of the pool that are not there, not the ones that the catalog knows, or fail. */
  readonly unusable: ReadonlyMap<DeviceId, XvdError>;
};

export async function lookUpPlaces(system: CatalogSystem, devices: readonly PoolDevice[], paths: readonly string[]): Promise<Places> {
  const byDevice = new Map<DeviceId, DeviceFacts>();
  const byPath = new Map<string, DeviceFacts>();
  const unusable = new Map<DeviceId, XvdError>();
  for (const device of devices) {
    const { facts, unusable: reason } = await locateDevice(system, device);
    if (reason !== null) unusable.set(device.id, reason);
    if (facts !== null) byDevice.set(device.id, facts);
  }
  for (const path of paths) {
    const facts = await inspectIfThere(system, path);
    if (facts !== null) byPath.set(path, facts);
  }
  return { byDevice, byPath, unusable };
}

/** Before anything is recorded of a new use of these runs: what that device can't be used for. */
export function refuseUnusableRuns(runs: readonly Run[], { unusable }: Places): void {
  for (const { deviceId } of runs) {
    const reason = unusable.get(deviceId);
    if (reason !== undefined) throw reason;
  }
}

/** Ranges of a disk on whole drives, in every space that its devices are seen in. */
export function footprintOfDisk(disk: Disk, runs: readonly Run[], devices: ReadonlyMap<DeviceId, PoolDevice>, places: Places): Footprint {
  const own: SectorRange[] = [];
  const below: SectorRange[] = [];
  const via = new Set<string>();
  for (const device of devices.values()) {
    const mine = runs.filter((run) => run.deviceId === device.id);
    if (mine.length === 0) continue;
    const facts = places.byDevice.get(device.id);
    const onDrive = extentList(disk.sizeBytes, runs, devices).filter((extent) => extent.device === device.drivePath);
    if (facts === undefined) {
      for (const { startSector, sectors: count } of onDrive) own.push({ space: `missing:${device.uuid}`, startSector, sectors: count });
      continue;
    }
    for (const place of facts.footprint.own) {
      const at = place.atSector ?? 0;
      for (const extent of onDrive) {
        const offset = extent.startSector - device.driveStartSector;
        const start = Math.max(offset, at);
        const end = Math.min(offset + extent.sectors, at + place.sectors);
        if (start >= end) continue;
        const named = place.device === undefined ? {} : { device: place.device };
        own.push({ space: place.space, startSector: sectors(place.startSector + start - at), sectors: sectors(end - start), ...named });
      }
    }
    below.push(...facts.footprint.below);
    for (const space of facts.footprint.via ?? []) via.add(space);
  }
  return { own, below, via: [...via] };
}

/** A device that can't be looked up any more still bars its own path. */
const unknownPlace = (path: string): Footprint => ({ own: [{ space: `path:${path}`, startSector: sectors(0), sectors: sectors(1) }], below: [] });

export function footprintOfPath(path: string, places: Places): Footprint {
  return places.byPath.get(path)?.footprint ?? unknownPlace(path);
}

export async function catalogUsers(reader: CatalogReader, places: Places): Promise<SectorUser[]> {
  const devices = new Map((await reader.devices()).map((device) => [device.id, device]));
  const users: SectorUser[] = [];
  const ofDisk = async (id: number): Promise<Footprint> => {
    const disk = await reader.disk(id);
    return disk === null ? { own: [], below: [] } : footprintOfDisk(disk, await reader.runs(id), devices, places);
  };
  for (const vbd of await reader.vbds()) {
    const footprint = vbd.source.kind === 'vd' ? await ofDisk(vbd.source.diskId) : footprintOfPath(vbd.source.path, places);
    users.push({ kind: 'vbd', name: vbdName(vbd), mode: vbd.mode, footprint, detach: { target: vbd.target, domain: vbd.domain } });
  }
  for (const worker of await reader.workers()) {
    users.push({
      kind: 'copy',
      name: `${worker.kind} of vd:${worker.diskId}`,
      mode: worker.kind === 'export' ? 'r' : 'w',
      footprint: await ofDisk(worker.diskId),
    });
  }
  return users;
}

const vbdName = (vbd: Vbd): string => `${vbd.target} of domain ${vbd.domain} (${sourceName(vbd.source)})`;
