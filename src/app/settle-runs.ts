// Steps 2 and 3 of the fence over the runs of a disk, device by device.

import { bytes } from '../base/units.ts';
import type { ByteRange } from '../host/host.ts';
import type { PlanDevice, PoolDevice, Run } from '../core/types.ts';
import type { CatalogSystem } from './system.ts';

export const planDevice = ({ path, kind, identity, sizeBytes }: PoolDevice): PlanDevice => ({ path, kind, identity, sizeBytes });

export const rangeOfRun = (run: Run, device: PoolDevice): ByteRange => ({
  offsetBytes: bytes(device.dataStartBytes + run.firstExtent * device.extentBytes),
  lengthBytes: bytes(run.count * device.extentBytes),
});

export async function settleRuns(system: CatalogSystem, runs: readonly Run[], devices: readonly PoolDevice[]): Promise<void> {
  for (const device of devices) {
    const ranges = runs.filter((run) => run.deviceId === device.id).map((run) => rangeOfRun(run, device));
    if (ranges.length > 0) await system.host.settle(planDevice(device), ranges);
  }
}
