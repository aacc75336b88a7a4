// Wipes what of a preparing disk is not known to be zeros, then makes it live. Can be repeated after a kill at any point:
// the disk owns its extents all the while, and the wiper has a row and a pipe, so that it is fenced like any writer.

import { XvdError } from '../base/error.ts';
import { bytes, extents } from '../base/units.ts';
import { isLiving } from '../core/lease.ts';
import type { Disk, PoolDevice, Run } from '../core/types.ts';
import type { ByteRange } from '../host/host.ts';
import { releaseRuns } from './allocate.ts';
import { change } from './change.ts';
import { unameOf } from './find-disk.ts';
import { planDevice, rangeOfRun } from './settle-runs.ts';
import type { CatalogSystem } from './system.ts';

export type Work = {
  readonly onProgress?: (progress: { readonly doneBytes: number; readonly totalBytes: number }) => void;
  readonly signal?: AbortSignal;
};

type Wipe = { readonly device: PoolDevice; readonly range: ByteRange };
type Task = { readonly disk: Disk; readonly wipes: readonly Wipe[]; readonly cleaned: readonly Run[]; readonly workerId: number };

export async function prepareDisk(system: CatalogSystem, diskId: number, work: Work = {}): Promise<void> {
  const pipe = `wipe-${system.random.uuid()}`;
  const alive = await system.host.holdAlive(pipe);
  try {
    const task = await begin(system, diskId, { pipe, pid: alive.pid, startTicks: alive.startTicks });
    if (task === null) return;
    try {
      await wipe(system, task, work);
    } catch (error) {
      // Zeros that still sit in a cache must not land on the next owner's data; unproved, the disk stays preparing.
      for (const { device, range } of task.wipes) await system.host.settle(planDevice(device), [range]);
      await giveUp(system, task, error);
      throw error;
    }
    await finish(system, task);
  } finally {
    await alive[Symbol.asyncDispose]();
    await system.host.forgetAlive(pipe);
  }
}

async function begin(system: CatalogSystem, diskId: number, process: { pipe: string; pid: number; startTicks: number }): Promise<Task | null> {
  const bootId = await system.host.bootId();
  return change(system, 'create', async ({ writer }) => {
    const disk = await writer.disk(diskId);
    if (disk === null || !disk.preparing) return null;
    if ((await writer.workers(diskId)).length > 0) {
      throw new XvdError('DISK_PREPARING', `another process is wiping ${unameOf(disk)}`, { fix: 'Wait for it; `xvd show` tells when the disk is live.' });
    }
    const devices = new Map((await writer.devices()).map((device) => [device.id, device]));
    const { wipes, cleaned } = planWipe(disk, await writer.runs(diskId), devices);
    const worker = await writer.addWorker({ kind: 'wiper', diskId, bootId, ...process });
    return { disk, wipes, cleaned, workerId: worker.id };
  });
}

/** What to wipe, and the runs as they are afterwards: the slack of the last extent is not wiped and stays dirty. */
export function planWipe(disk: Disk, runs: readonly Run[], devices: ReadonlyMap<number, PoolDevice>): { wipes: Wipe[]; cleaned: Run[] } {
  const wipes: Wipe[] = [];
  const cleaned: Run[] = [];
  let left: number = disk.sizeBytes;
  for (const run of runs) {
    const device = devices.get(run.deviceId);
    if (device === undefined) throw new RangeError(`run on device ${run.deviceId}, which the catalog does not have`);
    const range = rangeOfRun(run, device);
    const used = Math.min(left, range.lengthBytes);
    left -= used;
    if (run.clean) {
      cleaned.push(run);
      continue;
    }
    wipes.push({ device, range: { ...range, lengthBytes: bytes(used) } });
    const whole = Math.floor(used / device.extentBytes);
    if (whole > 0) cleaned.push({ ...run, count: extents(whole), clean: true });
    if (whole < run.count) cleaned.push({ ...run, firstExtent: extents(run.firstExtent + whole), count: extents(run.count - whole) });
  }
  return { wipes, cleaned };
}

async function wipe(system: CatalogSystem, task: Task, { onProgress, signal }: Work): Promise<void> {
  const totalBytes = task.wipes.reduce((sum, { range }) => sum + range.lengthBytes, 0);
  let before = 0;
  for (const { device, range } of task.wipes) {
    const start = before;
    await system.host.verify(planDevice(device));
    await system.host.zero(planDevice(device), [range], (done) => onProgress?.({ doneBytes: start + done, totalBytes }), signal);
    before += range.lengthBytes;
  }
}

async function finish(system: CatalogSystem, task: Task): Promise<void> {
  const outcome = await change(system, 'create', async (tx) => {
    await tx.writer.removeWorker(task.workerId);
    const disk = await tx.writer.disk(task.disk.id);
    if (disk === null || !disk.preparing) return 'gone';
    await tx.writer.setRuns(disk.id, task.cleaned);
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
  if (outcome !== 'live') throw new XvdError('DISK_EXPIRED', `${unameOf(task.disk)} ended while it was being prepared`, { fix: 'Create it again.' });
}

/** A wipe that failed never hands the disk out: nothing of it is left but the space, unowned and dirty. */
async function giveUp(system: CatalogSystem, task: Task, cause: unknown): Promise<void> {
  await change(system, 'create', async (tx) => {
    await tx.writer.removeWorker(task.workerId);
    const disk = await tx.writer.disk(task.disk.id);
    if (disk === null || !disk.preparing) return;
    await releaseRuns(tx, disk);
    await tx.writer.removeDisk(disk.id);
    await tx.event('disk.failed', unameOf(disk), { reason: cause instanceof Error ? cause.message : String(cause) });
  });
}
