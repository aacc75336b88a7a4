// Two devices with one identity: nothing takes one of them for the other.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MIB, sectors } from '../base/units.ts';
import { openWorld } from '../../test/sim/world.ts';
import { adoptDevice } from './adopt-device.ts';
import { attachVbd } from './attach-vbd.ts';
import { checkPool } from './check-pool.ts';
import { createDisk } from './create-disk.ts';
import { code, eachCatalog } from './fixture-system.ts';
import type { Rig } from './fixture-system.ts';
import { formatDevice, unformatDevice } from './format-device.ts';
import { recoverCatalog } from './recover-catalog.ts';
import type { CatalogSystem } from './system.ts';
import { writeLabels } from './write-labels.ts';

const identity = { kind: 'wwn', value: 'naa.5000c500a1b2c3d4', startSector: sectors(0) } as const;
const both = /\/dev\/sd[tu] and \/dev\/sd[tu]/;
const sizeBytes = 66 * MIB;
const addTwin = ({ host }: Pick<Rig['system'], 'host'>, path: string): void => host.addDevice({ path, sizeBytes, identity });
const format = (system: CatalogSystem, device: string, label: boolean) => formatDevice(system, { device, extentBytes: MIB, force: true, label });
const paths = async (system: CatalogSystem): Promise<string[]> => (await system.catalog.read((reader) => reader.devices())).map(({ path }) => path);

eachCatalog(
  'the clone of a device of the pool is refused whatever the force, with a label and without; the device itself is there already',
  async ({ system }) => {
    addTwin(system, '/dev/sdt');
    assert.equal((await format(system, '/dev/sdt', false)).changed, true);
    addTwin(system, '/dev/sdu');
    for (const label of [false, true]) await assert.rejects(format(system, '/dev/sdu', label), code('DEVICE_IDENTITY_MISMATCH', both));
    assert.equal((await format(system, '/dev/sdt', false)).changed, false);
    await assert.rejects(unformatDevice(system, { device: '/dev/sdu' }), code('DEVICE_IDENTITY_MISMATCH', both));
    assert.deepEqual(await paths(system), ['/dev/sdt']);
    assert.deepEqual(system.host.store('/dev/sdu').readDirect(0, 4096), new Uint8Array(4096), 'nothing was written on it');
    // Nobody knows any more which of the two it was.
    system.host.pullDevice('/dev/sdt');
    addTwin(system, '/dev/sdv');
    await assert.rejects(format(system, '/dev/sdu', false), code('DEVICE_IDENTITY_MISMATCH', /\/dev\/sdu and \/dev\/sdv/));
    system.host.pullDevice('/dev/sdu');
    assert.equal((await format(system, '/dev/sdv', false)).changed, false, 'the only one that bears it is it');
    system.host.pullDevice('/dev/sdv');
    system.host.returnDevice('/dev/sdt');
  },
);

eachCatalog('two paths to the same sectors are one device, in the pool by either', async ({ system }) => {
  addTwin(system, '/dev/sdt');
  const { footprint } = await system.host.inspect('/dev/sdt');
  system.host.addDevice({ path: '/dev/sdu', sizeBytes, identity, footprint });
  assert.equal((await format(system, '/dev/sdt', false)).changed, true);
  assert.equal((await format(system, '/dev/sdu', false)).changed, false);
});

eachCatalog('without a label none of two is formatted; with labels both are, used, and read back from their labels', async (rig) => {
  const { system } = rig;
  addTwin(system, '/dev/sdt');
  addTwin(system, '/dev/sdu');
  for (const device of ['/dev/sdt', '/dev/sdu']) await assert.rejects(format(system, device, false), code('DEVICE_IDENTITY_MISMATCH', both));
  assert.deepEqual(await paths(system), []);
  for (const device of ['/dev/sdt', '/dev/sdu']) await format(system, device, true);
  assert.equal((await createDisk(system, { sizeBytes: 100 * MIB })).state, 'live');
  for (const device of ['/dev/sdt', '/dev/sdu']) assert.equal((await adoptDevice(system, { device })).changed, false);
  assert.equal((await writeLabels(system)).written.length, 2);
  const { disks } = await recoverCatalog(system, { fromDevices: true, devices: ['/dev/sdt', '/dev/sdu'] });
  assert.deepEqual(
    disks.map(({ id, lostBytes }) => [id, lostBytes]),
    [[1, 0]],
  );
  for (const device of ['/dev/sdt', '/dev/sdu']) await assert.rejects(unformatDevice(system, { device }), code('DEVICE_BUSY'));
  await createDisk(system, { sizeBytes: MIB });
});

eachCatalog(
  'every use of a device of which a clone came later is refused and names both',
  async ({ system }) => {
    addTwin(system, '/dev/sdt');
    await format(system, '/dev/sdt', false);
    addTwin(system, '/dev/sdu');
    for (const wipe of [true, false]) await assert.rejects(createDisk(system, { sizeBytes: MIB, wipe }), code('DEVICE_IDENTITY_MISMATCH', both));
    await assert.rejects(adoptDevice(system, { device: '/dev/sdu', replaces: '/dev/sdt', force: true }), code('DEVICE_IDENTITY_MISMATCH', both));
  },
  ['DEVICE_IDENTITY_MISMATCH'],
);

test('neither of two clones is attached as phy:, and what may be the pool is not formatted beside it', async () => {
  const world = await openWorld();
  const { host } = world;
  const system = { ...world.system, host: { ...world.system.host, blockDevices: async () => ['/dev/sdt', '/dev/sdu'] } };
  addTwin({ host }, '/dev/sdt');
  await format(system, '/dev/sdt', false);
  const { footprint } = await host.inspect('/dev/sdt');
  await createDisk(system, { sizeBytes: MIB, name: 'web' });
  addTwin({ host }, '/dev/sdu');
  for (const source of ['phy:/dev/sdt', 'phy:/dev/sdu', 'vd:web'])
    await assert.rejects(attachVbd(system, { source, target: 'xvda', domain: '0', mode: 'w', expert: 2 }), code('DEVICE_IDENTITY_MISMATCH', both));
  // A part of each, without an identity: it may be a part of the pool.
  const clone = (await host.inspect('/dev/sdu')).footprint;
  for (const [path, part] of [
    ['/dev/sdt1', footprint],
    ['/dev/sdu1', clone],
  ] as const) {
    host.addDevice({ path, sizeBytes: 8 * MIB, identity: { kind: 'path', path }, footprint: part });
    await assert.rejects(format(system, path, true), code('DEVICE_OVERLAPS_POOL', /\/dev\/sdt/));
  }
  assert.deepEqual((await system.catalog.read((reader) => reader.vbds())).length, 0);
  assert.deepEqual(
    (await checkPool(system)).problems.map((problem) => problem.code),
    ['DEVICE_IDENTITY_MISMATCH'],
  );
});
