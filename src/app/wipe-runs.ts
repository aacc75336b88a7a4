// Wipes runs, and when that fails finds by halving which extents fail. A device that is gone has no bad extents: it is told.

import { XvdError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import { bytes, extents } from '../base/units.ts';
import type { Disk, PoolDevice, Run } from '../core/types.ts';
import { planDevice, rangeOfRun } from './settle-runs.ts';
import type { CatalogSystem } from './system.ts';

export type Work = {
  readonly onProgress?: (progress: { readonly doneBytes: number; readonly totalBytes: number }) => void;
  readonly signal?: AbortSignal;
};

/** The first `usedBytes` of a run: the slack of a disk's last extent is not wiped. */
export type Wipe = { readonly device: PoolDevice; readonly run: Run; readonly usedBytes: number };
/** Grows while it is worked; what stands in it when a wipe throws is true all the same. */
export type WipeOutcome = { readonly wiped: Run[]; readonly bad: Run[]; /** Of these something may have been written. */ readonly begun: Wipe[] };

/** What of a disk is not known to be zeros. */
export function planWipes(disk: Disk, runs: readonly Run[], devices: ReadonlyMap<number, PoolDevice>): Wipe[] {
  let left: number = disk.sizeBytes;
  return runs.flatMap((run) => {
    const device = devices.get(run.deviceId);
    if (device === undefined) throw new RangeError(`run on device ${run.deviceId}, which the catalog does not have`);
    const usedBytes = Math.min(left, run.count * device.extentBytes);
    left -= usedBytes;
    return run.clean || usedBytes === 0 ? [] : [{ device, run, usedBytes }];
  });
}

export const rangeOfWipe = ({ device, run, usedBytes }: Wipe) => ({ ...rangeOfRun(run, device), lengthBytes: bytes(usedBytes) });

export async function wipeRuns(system: CatalogSystem, wipes: readonly Wipe[], outcome: WipeOutcome, work: Work): Promise<void> {
  const totalBytes = wipes.reduce((sum, { usedBytes }) => sum + usedBytes, 0);
  let before = 0;
  for (const wipe of wipes) {
    const start = before;
    await system.host.verify(planDevice(wipe.device));
    outcome.begun.push(wipe);
    await wipeOne(system, wipe, outcome, { ...work, onProgress: ({ doneBytes }) => work.onProgress?.({ doneBytes: start + doneBytes, totalBytes }) });
    before += wipe.usedBytes;
  }
}

async function wipeOne(system: CatalogSystem, wipe: Wipe, outcome: WipeOutcome, work: Work): Promise<void> {
  const { device, run, usedBytes } = wipe;
  const plan = planDevice(device);
  try {
    await system.host.zero(plan, [rangeOfWipe(wipe)], (doneBytes) => work.onProgress?.({ doneBytes, totalBytes: usedBytes }), work.signal);
    const whole = Math.floor(usedBytes / device.extentBytes);
    if (whole > 0) outcome.wiped.push({ ...run, count: extents(whole), clean: true });
  } catch (error) {
    if (!(error instanceof XvdError) || error.code !== 'DEVICE_FAILED') throw error;
    await system.host.verify(plan);
    if (run.count === 1) {
      outcome.bad.push({ ...run, clean: false });
      if (outcome.bad.length >= limits.badExtentsPerWipe) throw error;
      return;
    }
    const half = Math.floor(run.count / 2);
    const halfBytes = Math.min(usedBytes, half * device.extentBytes);
    const { onProgress: _, ...quiet } = work;
    await wipeOne(system, { device, run: { ...run, count: extents(half) }, usedBytes: halfBytes }, outcome, quiet);
    const rest: Run = { ...run, firstExtent: extents(run.firstExtent + half), count: extents(run.count - half) };
    await wipeOne(system, { device, run: rest, usedBytes: usedBytes - halfBytes }, outcome, quiet);
  }
}
