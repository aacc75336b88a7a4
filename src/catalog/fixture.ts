// What the tests of catalogs are made of: a clock that stands still, seeded randomness, devices and disks.

import type { Clock, Random } from '../base/clock.ts';
import { XvdError } from '../base/error.ts';
import type { ErrorCode } from '../base/error.ts';
import { InvariantError } from '../base/invariant.ts';
import { bytes, extents, GIB, MIB, sectors, wallMs } from '../base/units.ts';
import type { Disk, PoolDevice, Run, Vbd } from '../core/types.ts';
import type { Catalog, CatalogReader, CatalogWriter, ExtentWorker } from './catalog.ts';

export const fixedClock: Clock = { read: () => ({ wallMs: wallMs(1_000_000), bootId: 'boot-1', sinceBootMs: 5_000.5, synchronised: true }) };

/** Numerical Recipes' linear congruence: enough for retries and names. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0);
  const hex = (): string => next().toString(16).padStart(8, '0');
  return { uuid: () => `${hex()}-${hex().slice(4)}-4${hex().slice(5)}-8${hex().slice(5)}-${hex()}${hex().slice(4)}`, integer: (limit) => next() % limit };
}

/** One test of the contract: on an empty catalog, which must be in order afterwards. */
export type Check = (says: string, body: (catalog: Catalog) => Promise<void>) => void;

export const EXTENT = 64 * MIB;
export const now = wallMs(1_000);

export const isInvariant = (error: unknown): boolean => error instanceof InvariantError;
export const hasCode =
  (code: ErrorCode, words = /./) =>
  (error: unknown): boolean =>
    error instanceof XvdError && error.code === code && words.test(error.message);

/** A device of 100 extents, as number 1. */
export const withDevice = (catalog: Catalog): Promise<void> => catalog.write(async (writer) => void (await writer.addDevice(device())));

export const device = (over: Partial<PoolDevice> = {}): Omit<PoolDevice, 'id'> => ({
  uuid: 'device-1',
  pool: 'default',
  path: '/dev/sda3',
  kind: 'block',
  identity: { kind: 'partition', partUuid: 'part-1', startSector: sectors(2048) },
  drivePath: '/dev/sda',
  driveStartSector: sectors(2048),
  sizeBytes: bytes(8 * GIB),
  blockBytes: 512,
  extentBytes: bytes(64 * MIB),
  dataStartBytes: bytes(MIB),
  extentCount: extents(100),
  labelled: true,
  overcommitted: false,
  ...over,
});

export const disk = (over: Partial<Disk> = {}): Omit<Disk, 'id'> => ({
  name: null,
  pool: 'default',
  sizeBytes: bytes(64 * MIB),
  blockBytes: 512,
  createdAt: wallMs(10),
  expiresAt: null,
  onExpiry: 'revoke',
  labels: {},
  preparing: false,
  suspect: false,
  lostBytes: bytes(0),
  ...over,
});

export const run = (deviceId: number, firstExtent: number, count: number, clean = false): Run => ({
  deviceId,
  firstExtent: extents(firstExtent),
  count: extents(count),
  clean,
});

export const vbd = (over: Partial<Vbd> = {}): Omit<Vbd, 'generation'> => ({
  domain: '0',
  hypervisor: 'host',
  target: '/dev/xvda',
  vdev: 51712,
  source: { kind: 'vd', diskId: 1 },
  mode: 'w',
  driver: 'nbd',
  cache: 'none',
  state: 'attaching',
  sizeBytes: bytes(64 * MIB),
  sharing: 0,
  devicePath: null,
  uri: null,
  persist: false,
  limit: null,
  delay: null,
  faults: null,
  createdAt: wallMs(10),
  bootId: 'boot-1',
  ...over,
});

export const worker = (diskId: number): Omit<ExtentWorker, 'id'> => ({ kind: 'wiper', diskId, bootId: 'boot-1', pid: 100, startTicks: 7, pipe: 'wiper-100' });

/** Takes the runs out of the unowned space and makes a disk of them. */
export async function addDiskOn(writer: CatalogWriter, runs: readonly Run[], over: Partial<Disk> = {}): Promise<Disk> {
  for (const taken of runs) await writer.takeUnowned(taken);
  const added = await writer.addDisk(disk(over));
  await writer.setRuns(added.id, runs);
  return added;
}

/** All that a reader can see at that instant, as plain data: two catalogs with equal pictures are equal. */
export async function picture(reader: CatalogReader, nowMs: number): Promise<unknown> {
  const at = wallMs(nowMs);
  const devices = await reader.devices();
  const disks = await reader.disks({ which: 'all', now: at });
  const pools = [...new Set(devices.map((each) => each.pool))].flatMap((pool) => ([512, 4096] as const).map((blockBytes) => ({ pool, blockBytes })));
  return {
    commit: await reader.commitNumber(),
    clock: await reader.lastClock(),
    devices,
    disks,
    living: await reader.disks({ which: 'living', now: at }),
    expired: await reader.disks({ which: 'expired', now: at }),
    soon: await reader.nextExpiries(at, 3),
    named: await Promise.all(['a', 'b', 'c'].map((name) => reader.diskByName(name))),
    labelled: await reader.disks({ which: 'living', now: at, label: { key: 'k', value: 'v1' }, limit: 2 }),
    runs: await Promise.all(disks.map((each) => reader.runs(each.id))),
    unowned: await Promise.all(devices.map((each) => reader.unownedRuns(each.id))),
    owned: await reader.ownedRuns(),
    bad: await reader.badRuns(),
    usage: [...(await reader.usage(at))],
    pools: await Promise.all(
      pools.map(async ({ pool, blockBytes }) => ({
        longest: await reader.longestUnowned(pool, blockBytes),
        smallest: await reader.smallestUnowned(pool, blockBytes, bytes(3 * 64 * MIB)),
        reclaimable: await reader.nextReclaimable(pool, blockBytes, at),
        allocatable: await reader.allocatableBytes(pool, blockBytes, at),
      })),
    ),
    vbds: await reader.vbds(),
    workers: await reader.workers(),
    events: await reader.events(0, 1000),
    highest: await reader.highest(),
    history: await reader.history(0),
  };
}

/** The product's own check at the end of a test: nothing is wrong with the catalog. */
export async function proved(catalog: Catalog): Promise<void> {
  const problems = await catalog.selfCheck();
  if (problems.length > 0) throw new Error(problems.join('\n'));
}
