// Makes a disk: takes its space in one transaction, then wipes what is not known to be zeros before anybody can see it.

import { XvdError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import { bytes } from '../base/units.ts';
import type { Bytes, WallMs } from '../base/units.ts';
import { leaseEnd } from '../core/duration.ts';
import { diskState, isLiving } from '../core/lease.ts';
import { requireName } from '../core/name.ts';
import { formatSize, roundDiskSize } from '../core/size.ts';
import type { DeviceId, Disk, PoolDevice, Run } from '../core/types.ts';
import { allocate, deviceMap, takeWhole } from './allocate.ts';
import type { DeviceMap } from './allocate.ts';
import { look } from './change.ts';
import type { Change } from './change.ts';
import { unameOf } from './find-disk.ts';
import { diskInfo, diskInfoOf } from './info.ts';
import { prepareDisk } from './prepare-disk.ts';
import type { Work } from './prepare-disk.ts';
import { changeReaped } from './reap-workers.ts';
import { requireDevice } from './require-device.ts';
import type { Changed, CreateOptions, DiskInfo, Warnings } from './shapes.ts';
import type { CatalogSystem } from './system.ts';

type Request = {
  readonly sizeBytes: Bytes;
  readonly pool: string;
  readonly name: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly wipe: boolean;
  readonly options: CreateOptions;
};

/** Carries the outcome of a dry run out of its transaction, which is undone by being thrown through. */
class DryRun extends Error {
  readonly outcome: DiskInfo;
  constructor(outcome: DiskInfo) {
    super('dry run');
    this.outcome = outcome;
  }
}

/** Carries out of its transaction which devices the disk would lie on, so that they are looked at before anything is recorded. */
class Unseen extends Error {
  readonly devices: readonly PoolDevice[];
  constructor(devices: readonly PoolDevice[]) {
    super('devices that were not looked at');
    this.devices = devices;
  }
}

/**
 * Creates a disk of `sizeBytes` (rounded up to 4096), living when this returns and reading as zeros.
 * The same name and size again completes a disk that is still preparing. POOL_FULL, NAME_TAKEN, POOL_NOT_FOUND; DEVICE_NOT_FOUND or
 * DEVICE_IDENTITY_MISMATCH when a device that it would lie on is not there, or is another.
 */
export async function createDisk(system: CatalogSystem, options: CreateOptions, work: Work = {}): Promise<DiskInfo & Changed & Warnings> {
  const request = validate(options);
  const warnings = request.sizeBytes === options.sizeBytes ? [] : [`size rounded up to ${request.sizeBytes} bytes, a multiple of 4096`];
  try {
    const { disk, made } = await recordOnSeen(system, request);
    if (!disk.preparing) return { ...made, changed: true, warnings };
    await prepareDisk(system, disk.id, work);
    const info = await look(system, async (reader, now) => diskInfoOf(reader, (await reader.disk(disk.id)) ?? disk, now));
    return { ...info, changed: true, warnings };
  } catch (error) {
    if (error instanceof DryRun) return { ...error.outcome, changed: false, warnings };
    throw error;
  }
}

function validate(options: CreateOptions): Request {
  const { sizeBytes } = options;
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes > limits.sizeBytes) {
    throw new XvdError('VALUE_INVALID', `a disk of ${sizeBytes} bytes is not possible`, { fix: 'Give a size above 0, like 10G.' });
  }
  return {
    sizeBytes: roundDiskSize(bytes(sizeBytes)),
    pool: requireName(options.pool ?? 'default', 'pool'),
    name: options.name === undefined ? null : requireName(options.name, 'disk'),
    labels: options.labels ?? {},
    wipe: options.wipe ?? true,
    options,
  };
}

/** Wiping looks at each device by itself; a disk that is not wiped is recorded when its devices were seen to be there. */
async function recordOnSeen(system: CatalogSystem, request: Request): Promise<{ disk: Disk; made: DiskInfo }> {
  const seen = new Set<DeviceId>();
  for (;;) {
    try {
      return await changeReaped(system, 'create', async (tx) => {
        const disk = await record(tx, request, seen);
        return { disk, made: diskInfo(disk, [], tx) };
      });
    } catch (error) {
      if (!(error instanceof Unseen)) throw error;
      for (const device of error.devices) {
        await requireDevice(system, device);
        seen.add(device.id);
      }
    }
  }
}

async function record(tx: Change, request: Request, seen: ReadonlySet<DeviceId>): Promise<Disk> {
  const resumed = request.name === null ? null : await settleName(tx, request.name, request.sizeBytes);
  if (resumed !== null) return resumed;
  const expiresAt = leaseEnd(request.options, tx.now);
  const devices = await deviceMap(tx);
  const { runs, blockBytes } = await takeSpace(tx, request, devices);
  if (!request.wipe) refuseUnseen(runs, devices, seen);
  const preparing = request.wipe && runs.some((run) => !run.clean);
  const disk = await tx.writer.addDisk({
    name: request.name,
    pool: request.pool,
    sizeBytes: request.sizeBytes,
    blockBytes,
    createdAt: tx.now,
    expiresAt,
    onExpiry: request.options.onExpiry ?? 'revoke',
    labels: request.labels,
    preparing,
    suspect: false,
    lostBytes: bytes(0),
  });
  await tx.writer.setRuns(disk.id, runs);
  await tellCreated(tx, disk, expiresAt);
  if (request.options.dryRun === true) throw new DryRun(diskInfo({ ...disk, preparing: false }, [], tx));
  return disk;
}

function refuseUnseen(runs: readonly Run[], devices: DeviceMap, seen: ReadonlySet<DeviceId>): void {
  const ids = new Set(runs.map(({ deviceId }) => deviceId)).difference(seen);
  if (ids.size > 0) throw new Unseen([...devices.values()].filter(({ id }) => ids.has(id)));
}

async function tellCreated(tx: Change, disk: Disk, expiresAt: WallMs | null): Promise<void> {
  await tx.event(disk.preparing ? 'disk.preparing' : 'disk.created', unameOf(disk), { sizeBytes: disk.sizeBytes, name: disk.name, expiresAt });
}

/** A name is of one disk: an expired one gives it up, a preparing one of the same size is what the caller wants completed. */
async function settleName(tx: Change, name: string, sizeBytes: Bytes): Promise<Disk | null> {
  const holder = await tx.writer.diskByName(name);
  if (holder === null) return null;
  if (diskState(holder, tx.now) === 'preparing' && holder.sizeBytes === sizeBytes) return holder;
  if (isLiving(holder, tx.now)) throw new XvdError('NAME_TAKEN', `the name '${name}' is taken by ${unameOf(holder)}`);
  await tx.writer.updateDisk({ ...holder, name: null });
  return null;
}

async function takeSpace(tx: Change, request: Request, devices: DeviceMap): Promise<{ runs: readonly Run[]; blockBytes: 512 | 4096 }> {
  const blockSizes = new Set<number>();
  for (const device of devices.values()) if (device.pool === request.pool) blockSizes.add(device.blockBytes);
  if (blockSizes.size === 0 && (devices.size > 0 || request.pool !== 'default')) throw new XvdError('POOL_NOT_FOUND', `no pool named '${request.pool}'`);
  if (blockSizes.size === 0) {
    throw new XvdError('POOL_FULL', 'the pool has no device', { fix: 'Format a device first: `xvd format DEVICE`.' });
  }
  // A disk's block size is fixed when it is made, and its space comes only from devices that fit it.
  let free = 0;
  for (const blockBytes of [512, 4096] as const) {
    if (!blockSizes.has(blockBytes)) continue;
    const whole = await takeWhole(tx, { pool: request.pool, blockBytes, sizeBytes: request.sizeBytes });
    if (whole !== null) return { runs: [whole], blockBytes };
    const allocatable = await tx.writer.allocatableBytes(request.pool, blockBytes, tx.trusted, request.sizeBytes);
    if (allocatable < request.sizeBytes) {
      free = Math.max(free, allocatable);
      continue;
    }
    const got = await allocate(tx, { pool: request.pool, blockBytes, sizeBytes: request.sizeBytes }, devices);
    if (got.kind === 'allocated') return { runs: got.runs, blockBytes };
  }
  const clock = tx.suspect === null ? '' : `; the clock is suspect (${tx.suspect}), so only what had expired before counts`;
  throw new XvdError('POOL_FULL', `${formatSize(request.sizeBytes)} asked, ${formatSize(free)} free in pool '${request.pool}'${clock}`);
}
