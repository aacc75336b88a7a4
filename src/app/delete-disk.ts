// Delete: the lease ends now. The extents of what nobody can reach are free from that instant, and stay whole until taken.

import { XvdError } from '../base/error.ts';
import { isLiving } from '../core/lease.ts';
import type { Disk, DiskId, Generation } from '../core/types.ts';
import { parseDiskRef } from '../core/uname.ts';
import { releaseRuns } from './allocate.ts';
import { look } from './change.ts';
import type { Change } from './change.ts';
import { findDisk, unameOf } from './find-disk.ts';
import { diskInfo, diskInfoOf } from './info.ts';
import { changeReaped } from './reap-workers.ts';
import { revokeVbd } from './revoke-vbd.ts';
import type { Changed, DeleteOptions, DiskInfo, Warnings } from './shapes.ts';
import { isSystem } from './system.ts';
import type { CatalogSystem, System } from './system.ts';

/** Ends the lease now. Attached: DISK_BUSY, or revoked first with `force` (inside the daemon). An expired one: `changed: false`. */
export async function deleteDisk(system: CatalogSystem | System, options: DeleteOptions): Promise<DiskInfo & Changed & Warnings> {
  const ref = parseDiskRef(options.disk);
  const { diskId, changed, attached, info } = await changeReaped(system, 'delete', async (tx) => {
    const disk = await findDisk(tx.writer, ref);
    const vbds = await tx.writer.vbds({ diskId: disk.id });
    const ended = { diskId: disk.id, attached: vbds.map((vbd) => vbd.generation) };
    if (!isLiving(disk, tx.now)) return { ...ended, changed: false, info: diskInfo(disk, vbds, tx) };
    const [vbd] = vbds;
    if (vbd !== undefined && options.force !== true) {
      throw new XvdError('DISK_BUSY', `${unameOf(disk)} is attached to domain ${vbd.domain} as ${vbd.target}`);
    }
    const copy = (await tx.writer.workers(disk.id)).find(({ kind }) => kind !== 'wiper');
    if (copy !== undefined && options.force !== true)
      throw new XvdError('DISK_BUSY', `the ${copy.kind} of ${unameOf(disk)} is under way`, { fix: 'Wait for it, or use --force: it stops then.' });
    if (vbd !== undefined && !isSystem(system)) throw new XvdError('DAEMON_NOT_RUNNING', `only the daemon can revoke ${vbd.target} of domain ${vbd.domain}`);
    await end(tx, disk);
    return { ...ended, changed: true, info: diskInfo((await tx.writer.disk(disk.id)) ?? disk, vbds, tx) };
  });
  if (!isSystem(system) || options.force !== true || attached.length === 0) return { ...info, changed, warnings: [] };
  await revokeAll(system, attached);
  return { ...(await infoOf(system, diskId)), changed, warnings: [] };
}

async function end(tx: Change, disk: Disk): Promise<void> {
  const ended = { ...disk, expiresAt: tx.now };
  await tx.writer.updateDisk(ended);
  await tx.event('disk.deleted', unameOf(disk), { leaseUntil: disk.expiresAt });
  if (!disk.preparing || (await tx.writer.workers(disk.id)).length > 0) return;
  // Nobody has seen it: what it had taken is unowned again. (A wiper that still runs gives it back when it ends.)
  await releaseRuns(tx, disk);
  await tx.writer.updateDisk({ ...ended, preparing: false, lostBytes: disk.sizeBytes });
}

async function revokeAll(system: System, generations: readonly Generation[]): Promise<void> {
  for (const generation of generations) await revokeVbd(system, generation, 'delete');
}

const infoOf = (system: CatalogSystem, diskId: DiskId): Promise<DiskInfo> =>
  look(system, async (reader, now) => diskInfoOf(reader, await findDisk(reader, { by: 'id', id: diskId }), now));
