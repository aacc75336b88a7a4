import { XvdError } from '../base/error.ts';
import { leaseEnd } from '../core/duration.ts';
import { isLiving } from '../core/lease.ts';
import { parseDiskRef } from '../core/uname.ts';
import { change } from './change.ts';
import { findDisk, unameOf } from './find-disk.ts';
import { diskInfoOf } from './info.ts';
import type { Changed, DiskInfo, LeaseOptions, Warnings } from './shapes.ts';
import type { CatalogSystem } from './system.ts';

/** Sets when the lease of a living disk ends; never, when nothing is said. DISK_EXPIRED, DISK_NOT_FOUND. */
export async function refreshDisk(system: CatalogSystem, options: LeaseOptions): Promise<DiskInfo & Changed & Warnings> {
  const ref = parseDiskRef(options.disk);
  return change(system, 'refresh', async (tx) => {
    const disk = await findDisk(tx.writer, ref);
    if (!isLiving(disk, tx.now)) throw new XvdError('DISK_EXPIRED', `the lease of ${unameOf(disk)} is over: it cannot be refreshed`);
    const expiresAt = leaseEnd(options, tx.now);
    const changed = expiresAt !== disk.expiresAt;
    const refreshed = { ...disk, expiresAt };
    if (changed) {
      await tx.writer.updateDisk(refreshed);
      await tx.event('disk.refreshed', unameOf(disk), { from: disk.expiresAt, to: expiresAt });
    }
    return { ...(await diskInfoOf(tx.writer, refreshed, tx)), changed, warnings: [] };
  });
}
