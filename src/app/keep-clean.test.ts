// The reserve of wiped space: what of it is made from what, in which order, and what a kill leaves.

import assert from 'node:assert/strict';

import { XvdError } from '../base/error.ts';
import { MIB } from '../base/units.ts';
import { checkPool } from './check-pool.ts';
import { createDisk } from './create-disk.ts';
import { deleteDisk } from './delete-disk.ts';
import { eachCatalog } from './fixture-system.ts';
import type { Rig } from './fixture-system.ts';
import { formatDevice } from './format-device.ts';
import { keepClean } from './keep-clean.ts';
import { listDevices } from './list-devices.ts';
import { listDisks } from './list-disks.ts';
import { restoreDisk } from './restore-disk.ts';
import { showDisk } from './show-disk.ts';
import type { CatalogSystem } from './system.ts';

async function keepAll(system: CatalogSystem, reserveBytes: number): Promise<void> {
  while (await keepClean(system, reserveBytes));
}

/** /dev/sda has 64 extents of 1 MiB. */
async function withPool({ system }: Rig): Promise<void> {
  await formatDevice(system, { device: '/dev/sda', extentBytes: MIB });
  system.host.store('/dev/sda').writeDirect(MIB, new Uint8Array(64 * MIB).fill(0xee));
}

const commitOf = (system: CatalogSystem): Promise<number> => system.catalog.read((reader) => reader.commitNumber());
const cleanOf = async ({ system }: Rig): Promise<number> => ((await listDevices(system))[0]?.cleanBytes ?? 0) / MIB;

eachCatalog('never-used space is wiped as far as the reserve, once, and a disk made of it needs no wiping', async (rig) => {
  const { system } = rig;
  await withPool(rig);
  await keepAll(system, 10 * MIB);
  assert.equal(await cleanOf(rig), 10);
  const commit = await commitOf(system);
  assert.equal(await keepClean(system, 10 * MIB), false, 'nothing more to do');
  assert.equal(await commitOf(system), commit, 'looking is no commit');
  assert.deepEqual(await listDisks(system, { which: 'all' }), [], 'it leaves no disk');
  const zero: CatalogSystem['host']['zero'] = async () => assert.fail('nothing is wiped');
  const { id } = await createDisk({ ...system, host: { ...system.host, zero } }, { sizeBytes: 10 * MIB });
  const [run] = await system.catalog.read((reader) => reader.runs(id));
  const seen = system.host.store('/dev/sda').readDirect((1 + (run?.firstExtent ?? 0)) * MIB, 10 * MIB);
  assert.ok(
    seen.every((byte) => byte === 0),
    'I4',
  );
});

eachCatalog('then of the disk that expired longest ago, its tail; what somebody asked to keep, and what lives, is not touched', async (rig) => {
  const { system, pass } = rig;
  await withPool(rig);
  const make = (labels = {}) => createDisk(system, { sizeBytes: 16 * MIB, labels, wipe: false });
  const [kept, old, young, living] = [await make({ keep: 'yes' }), await make(), await make(), await make()];
  for (const { uname } of [kept, old, young]) {
    pass(1000);
    await deleteDisk(system, { disk: uname });
  }
  await keepAll(system, 20 * MIB);
  const lost = await Promise.all([kept, old, young, living].map(async ({ uname }) => (await showDisk(system, uname)).lostBytes / MIB));
  assert.deepEqual(lost, [0, 16, 4, 0]);
  assert.equal(await cleanOf(rig), 20);
  await keepAll(system, 60 * MIB);
  assert.equal(await cleanOf(rig), 32, 'all that may be wiped');
  assert.equal((await restoreDisk(system, { disk: kept.uname })).changed, true);
});

eachCatalog('a keeper that is killed leaves free space, which is wiped again before anybody gets it', async (rig) => {
  const { system } = rig;
  await withPool(rig);
  const killed: CatalogSystem = { ...system, host: { ...system.host, zero: () => new Promise<never>(() => {}) } };
  void keepClean(killed, 8 * MIB).catch(() => {});
  for (let workers = 0; workers === 0;) workers = (await system.catalog.read((reader) => reader.workers())).length;
  const [worker] = await system.catalog.read((reader) => reader.workers());
  system.host.endHolders(worker?.pipe ?? '');
  await keepAll(system, 64 * MIB);
  assert.equal(await cleanOf(rig), 64);
  const { id } = await createDisk(system, { sizeBytes: 64 * MIB });
  assert.ok(id > 1);
});

eachCatalog('extents that cannot be wiped become bad and are passed over', async (rig) => {
  const { system } = rig;
  await withPool(rig);
  const zero: CatalogSystem['host']['zero'] = async (device, ranges, ...rest) => {
    const hit = ranges.some(({ offsetBytes, lengthBytes }) => offsetBytes <= 6 * MIB && 6 * MIB < offsetBytes + lengthBytes);
    if (hit) throw new XvdError('DEVICE_FAILED', 'byte 6 MiB');
    await system.host.zero(device, ranges, ...rest);
  };
  await keepAll({ ...system, host: { ...system.host, zero } }, 64 * MIB);
  assert.equal(await cleanOf(rig), 63);
  assert.equal((await listDevices(system))[0]?.badBytes, MIB);
  await checkPool(system);
});
