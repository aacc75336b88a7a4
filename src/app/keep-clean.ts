// Keeps so much of each pool's free space wiped ahead of time that disks can be made without waiting: never-used space first, then
// of the disk that expired longest ago, never of one with the label `keep`. What is being wiped belongs to an expired disk that
// nobody has seen: nobody else takes it while its wiper lives, and it is free like any expired disk when the wiper was killed.

import { XvdError } from '../base/error.ts';
import { bytes, extents, GIB } from '../base/units.ts';
import type { WallMs } from '../base/units.ts';
import type { CatalogReader } from '../catalog/catalog.ts';
import { runBytes, takeTail } from '../core/run.ts';
import type { Disk, DiskId, PoolDevice, Run } from '../core/types.ts';
import { change, look } from './change.ts';
import type { Change, Now } from './change.ts';
import { unameOf } from './find-disk.ts';
import { prepareDisk } from './prepare-disk.ts';
import { reapWorkers } from './reap-workers.ts';
import type { CatalogSystem } from './system.ts';

/** Whoever asks for space waits no longer than for one step. */
const STEP_BYTES = GIB;
const KEEP_LABEL = 'keep';
const LOOK_AT = 1000;

type Taken = { readonly diskId: DiskId; readonly sizeBytes: number };

/** One step for one pool. false when every pool has its reserve, or nothing is left that may be wiped. */
export async function keepClean(system: CatalogSystem, reserveBytes: number, signal?: AbortSignal): Promise<boolean> {
  await reapWorkers(system);
  const pools = new Set((await system.catalog.read((reader) => reader.devices())).map(({ pool }) => pool));
  for (const pool of pools) {
    // Without a commit: whoever waits for changes would be woken by every look.
    const wanted = await look(system, (reader, now) => isWanted(reader, now, pool, reserveBytes));
    if (!wanted) continue;
    const taken = await change(system, 'clean reserve', (tx) => take(tx, pool, reserveBytes));
    if (taken === 'clean') return true;
    if (taken === null) continue;
    await wipe(system, taken, signal);
    return true;
  }
  return false;
}

async function wipe(system: CatalogSystem, { diskId, sizeBytes }: Taken, signal: AbortSignal | undefined): Promise<void> {
  try {
    await prepareDisk(system, diskId, signal === undefined ? {} : { signal });
  } catch (error) {
    // Its lease is over from the beginning: so its space is given back when it is wiped.
    if (!(error instanceof XvdError) || error.code !== 'DISK_EXPIRED') throw error;
  }
  await change(system, 'clean reserve', async (tx) => {
    const disk = await tx.writer.disk(diskId);
    if (disk === null || disk.preparing || (await tx.writer.runs(diskId)).length > 0) return;
    await tx.writer.removeDisk(diskId);
    await tx.event('pool.cleaned', disk.pool, { bytes: sizeBytes });
  });
}

async function isWanted(reader: CatalogReader, { trusted }: Now, pool: string, reserveBytes: number): Promise<boolean> {
  let cleanBytes = 0;
  let dirty = false;
  for (const { id, extentBytes } of (await reader.devices()).filter((device) => device.pool === pool)) {
    for (const run of await reader.unownedRuns(id)) {
      if (run.clean) cleanBytes += runBytes(run, extentBytes);
      else dirty = true;
    }
  }
  return cleanBytes < reserveBytes && (dirty || (await oldest(reader, trusted, pool)) !== null);
}

/** `clean`: what was taken from an expired disk was clean already, and is unowned now. */
async function take(tx: Change, pool: string, reserveBytes: number): Promise<Taken | 'clean' | null> {
  const devices = new Map((await tx.writer.devices()).filter((device) => device.pool === pool).map((device) => [device.id, device]));
  const unowned: Run[] = [];
  for (const id of devices.keys()) unowned.push(...(await tx.writer.unownedRuns(id)));
  const bytesOf = (runs: readonly Run[]): number => runs.reduce((sum, run) => sum + runBytes(run, extentBytesOf(devices, run)), 0);
  const missing = Math.min(STEP_BYTES, reserveBytes - bytesOf(unowned.filter(({ clean }) => clean)));
  if (missing <= 0) return null;
  const dirty = unowned.find(({ clean }) => !clean);
  if (dirty !== undefined) {
    const count = Math.min(dirty.count, Math.ceil(missing / extentBytesOf(devices, dirty)));
    const part = { ...dirty, count: extents(count) };
    await tx.writer.takeUnowned(part);
    return own(tx, devices, pool, [part]);
  }
  const victim = await oldest(tx.writer, tx.trusted, pool);
  if (victim === null) return null;
  const { kept, taken } = takeTail(await tx.writer.runs(victim.id), (id) => devices.get(id)?.extentBytes ?? bytes(1), bytes(missing));
  await lose(tx, victim, kept, bytesOf(kept));
  for (const run of taken.filter(({ clean }) => clean)) await tx.writer.giveUnowned(run);
  const rest = taken.filter(({ clean }) => !clean);
  return rest.length === 0 ? 'clean' : own(tx, devices, pool, rest);
}

async function oldest(reader: CatalogReader, trusted: WallMs, pool: string): Promise<Disk | null> {
  const free: Disk[] = [];
  for (const disk of await reader.disks({ which: 'expired', now: trusted, limit: LOOK_AT })) {
    if (disk.pool !== pool || KEEP_LABEL in disk.labels || (await reader.runs(disk.id)).length === 0) continue;
    if ((await reader.vbds({ diskId: disk.id })).length === 0 && (await reader.workers(disk.id)).length === 0) free.push(disk);
  }
  return free.toSorted((a, b) => Number(a.expiresAt) - Number(b.expiresAt) || a.id - b.id)[0] ?? null;
}

async function lose(tx: Change, victim: Disk, kept: readonly Run[], left: number): Promise<void> {
  await tx.writer.setRuns(victim.id, kept);
  const lostBytes = bytes(Math.max(victim.lostBytes, victim.sizeBytes - left));
  await tx.writer.updateDisk({ ...victim, lostBytes });
  if (victim.lostBytes === 0 && lostBytes > 0) await tx.event('disk.reclaimed', unameOf(victim), { lostBytes });
}

/** An expired disk of its own, to be wiped whole. */
async function own(tx: Change, devices: ReadonlyMap<number, PoolDevice>, pool: string, runs: readonly Run[]): Promise<Taken> {
  const sizeBytes = bytes(runs.reduce((sum, run) => sum + runBytes(run, extentBytesOf(devices, run)), 0));
  const blockBytes = devices.get(runs[0]?.deviceId ?? 0)?.blockBytes ?? 512;
  const lease: { createdAt: WallMs; expiresAt: WallMs } = { createdAt: tx.now, expiresAt: tx.now };
  const row = { name: null, pool, sizeBytes, blockBytes, ...lease, onExpiry: 'revoke', labels: { xvd: 'clean-reserve' }, preparing: true } as const;
  const { id } = await tx.writer.addDisk({ ...row, suspect: false, lostBytes: bytes(0) });
  await tx.writer.setRuns(id, runs);
  return { diskId: id, sizeBytes };
}

function extentBytesOf(devices: ReadonlyMap<number, PoolDevice>, { deviceId }: Run) {
  const device = devices.get(deviceId);
  if (device === undefined) throw new RangeError(`run on device ${deviceId}, which the pool does not have`);
  return device.extentBytes;
}
