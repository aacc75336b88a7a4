// Wipes what of a preparing disk is not known to be zeros, then makes it live. Can be repeated after a kill at any point:
// the disk owns its extents all the while, and the wiper has a row and a pipe, so that it is fenced like any writer.
// Extents that can't be wiped become bad, and the disk gets others.

import { XvdError } from '../base/error.ts';
import { bytes } from '../base/units.ts';
import { isLiving } from '../core/lease.ts';
import { formatSize } from '../core/size.ts';
import type { Disk, Run } from '../core/types.ts';
import { afterWipe } from '../core/wipe-outcome.ts';
import { allocate, deviceMap, releaseRuns } from './allocate.ts';
import { change } from './change.ts';
import type { Change } from './change.ts';
import { unameOf } from './find-disk.ts';
import { planDevice } from './settle-runs.ts';
import type { CatalogSystem } from './system.ts';
import { planWipes, rangeOfWipe, wipeRuns } from './wipe-runs.ts';
import type { Wipe, WipeOutcome, Work } from './wipe-runs.ts';

export type { Work } from './wipe-runs.ts';

type Task = { readonly disk: Disk; readonly wipes: readonly Wipe[]; readonly workerId: number };

/** DEVICE_FAILED when the device is gone or fails all over; POOL_FULL when nothing is left in place of what is bad. */
export async function prepareDisk(system: CatalogSystem, diskId: number, work: Work = {}): Promise<void> {
  const pipe = `wipe-${system.random.uuid()}`;
  const alive = await system.host.holdAlive(pipe);
  try {
    const first = await begin(system, diskId, { pipe, pid: alive.pid, startTicks: alive.startTicks });
    if (first !== null) await wipeUntilWhole(system, first, work);
  } finally {
    await alive[Symbol.asyncDispose]();
    await forgetUnused(system, diskId, pipe);
  }
}

/** A worker whose row could not be removed is proved gone by its pipe, so that one stays. */
async function forgetUnused(system: CatalogSystem, diskId: number, pipe: string): Promise<void> {
  const workers = await system.catalog.read((reader) => reader.workers(diskId));
  if (!workers.some((worker) => worker.pipe === pipe)) await system.host.forgetAlive(pipe);
}

async function wipeUntilWhole(system: CatalogSystem, first: Task, work: Work): Promise<void> {
  for (let task = first; ;) {
    const outcome: WipeOutcome = { wiped: [], bad: [], begun: [] };
    try {
      await wipeRuns(system, task.wipes, outcome, work);
      if (outcome.bad.length > 0) {
        task = await replaceBad(system, task, outcome);
        continue;
      }
    } catch (error) {
      // Zeros that still sit in a cache must not land on the next owner's data; unproved, the disk stays preparing.
      for (const wipe of outcome.begun) await system.host.settle(planDevice(wipe.device), [rangeOfWipe(wipe)]);
      await giveUp(system, task, outcome, error);
      throw error;
    }
    return finish(system, task, outcome);
  }
}

async function begin(system: CatalogSystem, diskId: number, process: { pipe: string; pid: number; startTicks: number }): Promise<Task | null> {
  const bootId = await system.host.bootId();
  return change(system, 'create', async (tx) => {
    const disk = await tx.writer.disk(diskId);
    if (disk === null || !disk.preparing) return null;
    if ((await tx.writer.workers(diskId)).length > 0) {
      throw new XvdError('DISK_PREPARING', `another process is wiping ${unameOf(disk)}`, { fix: 'Wait for it; `xvd show` tells when the disk is live.' });
    }
    const wipes = planWipes(disk, await tx.writer.runs(diskId), await deviceMap(tx));
    const worker = await tx.writer.addWorker({ kind: 'wiper', diskId, bootId, ...process });
    return { disk, wipes, workerId: worker.id };
  });
}

/** What was wiped counts, what is bad is out, and what misses now is taken from elsewhere: that is wiped next. */
function replaceBad(system: CatalogSystem, task: Task, outcome: WipeOutcome): Promise<Task> {
  return change(system, 'create', async (tx) => {
    const disk = await tx.writer.disk(task.disk.id);
    if (disk === null || !disk.preparing) return { ...task, wipes: [] };
    const kept = await settle(tx, disk, outcome);
    // Ended meanwhile: nothing of it is needed any more, and finish() tells so.
    if (!isLiving(disk, tx.now)) return { ...task, wipes: [] };
    const devices = await deviceMap(tx);
    const has = kept.reduce((sum, run) => sum + run.count * (devices.get(run.deviceId)?.extentBytes ?? 0), 0);
    const missing = Math.max(0, disk.sizeBytes - has);
    const more = await allocate(tx, { pool: disk.pool, blockBytes: disk.blockBytes, sizeBytes: bytes(missing) }, devices);
    if (more.kind === 'short') {
      throw new XvdError(
        'POOL_FULL',
        `${outcome.bad.length} extents for ${unameOf(disk)} are bad, and ${formatSize(more.missingBytes)} of the ${formatSize(missing)} in their place are missing`,
      );
    }
    const runs = [...kept, ...more.runs];
    await tx.writer.setRuns(disk.id, runs);
    return { ...task, wipes: planWipes(disk, runs, devices) };
  });
}

/** Gives what is left of the disk's runs. */
async function settle(tx: Change, disk: Disk, { wiped, bad }: WipeOutcome): Promise<readonly Run[]> {
  const kept = afterWipe(await tx.writer.runs(disk.id), wiped, bad);
  await tx.writer.setRuns(disk.id, kept);
  for (const run of bad) {
    await tx.writer.addBad(run);
    const device = await tx.writer.device(run.deviceId);
    await tx.event('device.bad-extents', device?.path ?? String(run.deviceId), { firstExtent: run.firstExtent, extents: run.count, disk: unameOf(disk) });
  }
  return kept;
}

async function finish(system: CatalogSystem, task: Task, outcome: WipeOutcome): Promise<void> {
  const ended = await change(system, 'create', async (tx) => {
    await tx.writer.removeWorker(task.workerId);
    const disk = await tx.writer.disk(task.disk.id);
    if (disk === null || !disk.preparing) return 'gone';
    await settle(tx, disk, outcome);
    await tx.writer.updateDisk({ ...disk, preparing: false });
    if (!isLiving(disk, tx.now)) {
      // Deleted, or its lease over, while it was wiped: its extents were never seen by anybody.
      await releaseRuns(tx, disk);
      await tx.writer.updateDisk({ ...disk, preparing: false, lostBytes: disk.sizeBytes });
      return 'ended';
    }
    await tx.event('disk.created', unameOf(disk), { sizeBytes: disk.sizeBytes, name: disk.name, expiresAt: disk.expiresAt });
    return 'live';
  });
  if (ended !== 'live') throw new XvdError('DISK_EXPIRED', `${unameOf(task.disk)} ended while it was being prepared`, { fix: 'Create it again.' });
}

/** A wipe that failed never hands the disk out: nothing of it is left but the space, unowned; what was found bad stays bad. */
async function giveUp(system: CatalogSystem, task: Task, outcome: WipeOutcome, cause: unknown): Promise<void> {
  await change(system, 'create', async (tx) => {
    await tx.writer.removeWorker(task.workerId);
    const disk = await tx.writer.disk(task.disk.id);
    if (disk === null || !disk.preparing) return;
    await settle(tx, disk, outcome);
    await releaseRuns(tx, disk);
    await tx.writer.removeDisk(disk.id);
    await tx.event('disk.failed', unameOf(disk), { reason: cause instanceof Error ? cause.message : String(cause) });
  });
}
