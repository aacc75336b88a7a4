// From the runs of a disk to bytes on devices: in the order of the disk (F1), inside their own device (F2), neighbours
// joined, and exactly as long as the disk (F14).

import { invariant } from '../base/invariant.ts';
import { bytes, sectors, SECTOR_BYTES } from '../base/units.ts';
import type { Bytes } from '../base/units.ts';
import type { DeviceId, PoolDevice, Run, Segment } from './types.ts';

type Piece = { readonly device: PoolDevice; readonly offsetBytes: number; readonly lengthBytes: number };

function pieces(sizeBytes: Bytes, runs: readonly Run[], devices: ReadonlyMap<DeviceId, PoolDevice>): Piece[] {
  const found: Piece[] = [];
  let left: number = sizeBytes;
  for (const run of runs) {
    if (left === 0) break;
    const device = devices.get(run.deviceId);
    invariant(device !== undefined, `device ${run.deviceId} of a run is in the catalog`);
    const offsetBytes = device.dataStartBytes + run.firstExtent * device.extentBytes;
    const lengthBytes = Math.min(left, run.count * device.extentBytes);
    left -= lengthBytes;
    const last = found.at(-1);
    if (last !== undefined && last.device.id === device.id && last.offsetBytes + last.lengthBytes === offsetBytes) {
      found[found.length - 1] = { ...last, lengthBytes: last.lengthBytes + lengthBytes };
    } else found.push({ device, offsetBytes, lengthBytes });
  }
  invariant(left === 0, `the runs of a disk cover its size; ${left} bytes are missing`);
  return found;
}

/** For a data path: the devices in the order of first use, and segments that follow each other without gap. */
export function segmentsOf(sizeBytes: Bytes, runs: readonly Run[], devices: ReadonlyMap<DeviceId, PoolDevice>): { devices: PoolDevice[]; segments: Segment[] } {
  const used: PoolDevice[] = [];
  const indexOf = new Map<DeviceId, number>();
  const segments = pieces(sizeBytes, runs, devices).map(({ device, offsetBytes, lengthBytes }) => {
    const deviceIndex = indexOf.get(device.id) ?? used.push(device) - 1;
    indexOf.set(device.id, deviceIndex);
    return { deviceIndex, offsetBytes: bytes(offsetBytes), lengthBytes: bytes(lengthBytes) };
  });
  return { devices: used, segments };
}

export type ExtentPlace = { readonly device: string; readonly startSector: ReturnType<typeof sectors>; readonly sectors: ReturnType<typeof sectors> };

/** For people: on whole drives, counted from the drive's start. */
export function extentList(sizeBytes: Bytes, runs: readonly Run[], devices: ReadonlyMap<DeviceId, PoolDevice>): ExtentPlace[] {
  return pieces(sizeBytes, runs, devices).map(({ device, offsetBytes, lengthBytes }) => ({
    device: device.drivePath,
    startSector: sectors(device.driveStartSector + offsetBytes / SECTOR_BYTES),
    sectors: sectors(lengthBytes / SECTOR_BYTES),
  }));
}
