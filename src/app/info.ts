// From the catalog's rows to the shapes that all faces show.

import type { CatalogReader, DeviceUsage } from '../catalog/catalog.ts';
import { formatInstant } from '../core/duration.ts';
import { diskState } from '../core/lease.ts';
import type { Disk, PoolDevice, Source, Vbd, XvdEvent } from '../core/types.ts';
import type { Now } from './change.ts';
import { unameOf } from './find-disk.ts';
import type { DeviceInfo, DiskInfo, EventInfo, VbdInfo } from './shapes.ts';

const nothing: DeviceUsage = { usedBytes: 0, freeBytes: 0, reservedBytes: 0, badBytes: 0, cleanBytes: 0, reclaimableBytes: 0 } as DeviceUsage;

export const sourceName = (source: Source): string => (source.kind === 'vd' ? `vd:${source.diskId}` : `phy:${source.path}`);

export function deviceInfo(device: PoolDevice, usage: DeviceUsage | undefined): DeviceInfo {
  const { usedBytes, freeBytes, reservedBytes, badBytes, cleanBytes, reclaimableBytes } = usage ?? nothing;
  return {
    device: device.path,
    pool: device.pool,
    extentBytes: device.extentBytes,
    totalBytes: device.extentCount * device.extentBytes,
    usedBytes,
    freeBytes,
    reservedBytes,
    badBytes,
    cleanBytes,
    reclaimableBytes,
    identity: device.identity,
    overcommitted: device.overcommitted,
  };
}

export function vbdInfo(vbd: Vbd): VbdInfo {
  return {
    domain: vbd.domain,
    target: vbd.target,
    vdev: vbd.vdev,
    source: sourceName(vbd.source),
    mode: vbd.mode,
    generation: vbd.generation,
    driver: vbd.driver,
    state: vbd.state,
    sizeBytes: vbd.sizeBytes,
    devicePath: vbd.devicePath,
    uri: vbd.uri,
    sharing: vbd.sharing,
    persist: vbd.persist,
  };
}

export function diskInfo(disk: Disk, vbds: readonly Vbd[], now: Now): DiskInfo {
  const state = diskState(disk, now.now);
  return {
    id: disk.id,
    uname: unameOf(disk),
    name: disk.name,
    pool: disk.pool,
    sizeBytes: disk.sizeBytes,
    state,
    createdAt: formatInstant(disk.createdAt),
    expiresAt: disk.expiresAt === null ? null : formatInstant(disk.expiresAt),
    // One that ended while it was prepared was never whole.
    recoverable: state !== 'reclaimed' && !(disk.preparing && state === 'expired'),
    lostBytes: disk.lostBytes,
    labels: disk.labels,
    suspect: disk.suspect,
    blockBytes: disk.blockBytes,
    onExpiry: disk.onExpiry,
    vbds: vbds.map(vbdInfo),
  };
}

/** With its VBDs, as they are now. */
export async function diskInfoOf(reader: CatalogReader, disk: Disk, now: Now): Promise<DiskInfo> {
  return diskInfo(disk, await reader.vbds({ diskId: disk.id }), now);
}

/** What events call their instants; the catalog keeps them as milliseconds. */
const INSTANTS: ReadonlySet<string> = new Set(['expiresAt', 'leaseUntil', 'from', 'to']);

export function eventInfo(event: XvdEvent): EventInfo {
  const data = Object.entries(event.data).map(
    ([name, value]) => [name, INSTANTS.has(name) && typeof value === 'number' ? formatInstant(value) : value] as const,
  );
  return { ...event, time: formatInstant(event.time), data: Object.fromEntries(data) };
}
