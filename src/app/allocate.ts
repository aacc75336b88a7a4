// Takes space for a disk inside a transaction: never-used space first (it counts as expired for longest), then the tail of
// the disk that expired longest ago. Of never-used space the smallest run that fits whole, else the longest first.

import { bytes } from '../base/units.ts';
import type { Bytes } from '../base/units.ts';
import type { FreeRun } from '../catalog/catalog.ts';
import { runBytes, takeFromUnowned, takeTail } from '../core/run.ts';
import type { DeviceId, Disk, PoolDevice, Run } from '../core/types.ts';
import type { Change } from './change.ts';
import { unameOf } from './find-disk.ts';

export type Wanted = { readonly pool: string; readonly blockBytes: 512 | 4096; readonly sizeBytes: Bytes };
export type DeviceMap = ReadonlyMap<DeviceId, PoolDevice>;
export type Allocation = { readonly kind: 'allocated'; readonly runs: readonly Run[] } | { readonly kind: 'short'; readonly missingBytes: Bytes };

export async function allocate(change: Change, wanted: Wanted, devices: DeviceMap): Promise<Allocation> {
  const runs: Run[] = [];
  let missing: number = wanted.sizeBytes;
  const take = (taken: readonly Run[]): void => {
    for (const run of taken) {
      runs.push(run);
      missing -= runBytes(run, extentBytesOf(devices, run.deviceId));
    }
  };
  while (missing > 0) {
    const unowned = await nextUnowned(change, wanted, bytes(missing));
    if (unowned !== null) {
      const taken = takeFromUnowned(unowned, unowned.extentBytes, bytes(missing));
      await change.writer.takeUnowned(taken);
      take([taken]);
      continue;
    }
    const victim = await change.writer.nextReclaimable(wanted.pool, wanted.blockBytes, change.trusted);
    if (victim === null) return { kind: 'short', missingBytes: bytes(missing) };
    take(await reclaimTail(change, victim, bytes(missing), devices));
  }
  return { kind: 'allocated', runs };
}

/** Never-used space that holds all of it in one run, mostly: then nothing else needs to be asked. */
export async function takeWhole({ writer }: Change, wanted: Wanted): Promise<Run | null> {
  const unowned = await writer.smallestUnowned(wanted.pool, wanted.blockBytes, wanted.sizeBytes);
  if (unowned === null) return null;
  const taken = takeFromUnowned(unowned, unowned.extentBytes, wanted.sizeBytes);
  await writer.takeUnowned(taken);
  return taken;
}

async function nextUnowned({ writer }: Change, { pool, blockBytes }: Wanted, missing: Bytes): Promise<FreeRun | null> {
  return (await writer.smallestUnowned(pool, blockBytes, missing)) ?? (await writer.longestUnowned(pool, blockBytes));
}

async function reclaimTail(change: Change, victim: Disk, missing: Bytes, devices: DeviceMap): Promise<readonly Run[]> {
  const { writer } = change;
  const { kept, taken } = takeTail(await writer.runs(victim.id), (id) => extentBytesOf(devices, id), missing);
  const left = kept.reduce((sum, run) => sum + runBytes(run, extentBytesOf(devices, run.deviceId)), 0);
  await writer.setRuns(victim.id, kept);
  await writer.updateDisk({ ...victim, lostBytes: bytes(Math.max(victim.lostBytes, victim.sizeBytes - left)) });
  if (victim.lostBytes === 0) await change.event('disk.reclaimed', unameOf(victim), { lostBytes: Math.max(0, victim.sizeBytes - left) });
  return taken;
}

function extentBytesOf(devices: DeviceMap, id: DeviceId): Bytes {
  const device = devices.get(id);
  if (device === undefined) throw new RangeError(`run on device ${id}, which the catalog does not have`);
  return device.extentBytes;
}

export async function deviceMap(change: Pick<Change, 'writer'>): Promise<DeviceMap> {
  return new Map((await change.writer.devices()).map((device) => [device.id, device]));
}

/** Gives all that a disk owns back to the unowned space; what is left of it then is a row without extents. */
export async function releaseRuns(change: Change, disk: Disk): Promise<void> {
  const runs = await change.writer.runs(disk.id);
  await change.writer.setRuns(disk.id, []);
  for (const run of runs) await change.writer.giveUnowned(run);
}
