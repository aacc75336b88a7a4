import { XvdError } from '../base/error.ts';
import { leaseEnd } from '../core/duration.ts';
import { diskState } from '../core/lease.ts';
import { parseDiskRef } from '../core/uname.ts';
import { change } from './change.ts';
import { findDisk, unameOf } from './find-disk.ts';
import { diskInfoOf } from './info.ts';
import type { Changed, DiskInfo, LeaseOptions, Warnings } from './shapes.ts';
import type { CatalogSystem } from './system.ts';

/** Brings back an expired disk of which nothing is lost. DISK_RECLAIMED, DISK_PREPARING, DISK_NOT_FOUND; a living one is `changed: false`. */
export async function restoreDisk(system: CatalogSystem, options: LeaseOptions): Promise<DiskInfo & Changed & Warnings> {
  const ref = parseDiskRef(options.disk);
  return change(system, 'restore', async (tx) => {
    const disk = await findDisk(tx.writer, ref);
    const state = diskState(disk, tx.now);
    if (state === 'reclaimed') throw new XvdError('DISK_RECLAIMED', `${disk.lostBytes} bytes of ${unameOf(disk)} belong to others now`);
    if (disk.preparing) throw new XvdError('DISK_PREPARING', `${unameOf(disk)} was never finished`, { fix: 'Create a new disk.' });
    if (state === 'live') return { ...(await diskInfoOf(tx.writer, disk, tx)), changed: false, warnings: [] };
    const restored = { ...disk, expiresAt: leaseEnd(options, tx.now) };
    await tx.writer.updateDisk(restored);
    await tx.event('disk.restored', unameOf(disk), { from: disk.expiresAt, to: restored.expiresAt });
    const warnings = disk.name === null ? [`${unameOf(disk)} has no name: another disk may have taken it`] : [];
    return { ...(await diskInfoOf(tx.writer, restored, tx)), changed: true, warnings };
  });
}
