import { XvdError } from '../base/error.ts';
import { sectorsOfBytes, roundDown, SECTOR_BYTES, bytes } from '../base/units.ts';
import { isLiving } from '../core/lease.ts';
import { extentList } from '../core/mapping.ts';
import { parseUname } from '../core/uname.ts';
import { look } from './change.ts';
import { findDisk, unameOf } from './find-disk.ts';
import type { ExtentInfo } from './shapes.ts';
import type { CatalogSystem } from './system.ts';

/** The extents of a living disk, or of a physical device (one extent on its drive), in order. */
export async function extentsOf(system: CatalogSystem, uname: string): Promise<ExtentInfo[]> {
  const parsed = parseUname(uname);
  if (parsed.kind === 'phy') {
    const facts = await system.host.inspect(parsed.path);
    const size = bytes(roundDown(facts.sizeBytes, SECTOR_BYTES));
    return [{ device: facts.drivePath, startSector: facts.driveStartSector, sectors: sectorsOfBytes(size) }];
  }
  return look(system, async (reader, { now }) => {
    const disk = await findDisk(reader, parsed.ref);
    if (!isLiving(disk, now)) throw new XvdError('DISK_EXPIRED', `${unameOf(disk)} has no extents of its own: its lease is over`);
    const devices = new Map((await reader.devices()).map((device) => [device.id, device]));
    return extentList(disk.sizeBytes, await reader.runs(disk.id), devices);
  });
}
