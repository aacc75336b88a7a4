// What the simulation found, each as small as it gets: decisions on one device at once, devices that can't be looked at, and
// what is left when the catalog fails at the worst moment.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { XvdError } from '../base/error.ts';
import { MIB } from '../base/units.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { faultyHost } from '../host/simulated/faulty-host.ts';
import { openWorld } from '../../test/sim/world.ts';
import { attachVbd } from './attach-vbd.ts';
import { checkPool } from './check-pool.ts';
import { createDisk } from './create-disk.ts';
import { deleteDisk } from './delete-disk.ts';
import { formatDevice } from './format-device.ts';
import { code } from './fixture-system.ts';
import type { CatalogSystem } from './system.ts';

const failing = (catalog: Catalog, write: Catalog['write']): Catalog => ({
  read: (body) => catalog.read(body),
  write,
  changeMark: () => catalog.changeMark(),
  backup: (path) => catalog.backup(path),
  selfCheck: () => catalog.selfCheck(),
  [Symbol.asyncDispose]: async () => undefined,
});
const format = (system: CatalogSystem, device: string, force = false) => formatDevice(system, { device, extentBytes: MIB, force });

test('format refuses, also by force, what is attached to domain 0 as phy:', async () => {
  const { system } = await openWorld();
  await attachVbd(system, { source: 'phy:/dev/sdb', target: 'xvda', domain: '0', mode: 'w' });
  await assert.rejects(format(system, '/dev/sdb', true), code('DEVICE_OVERLAPS_POOL'));
});

test('while a device is formatted it is neither formatted again nor attached', async () => {
  const { system } = await openWorld();
  const { footprint } = await system.host.inspect('/dev/sdb');
  await using claim = await system.host.claim(footprint.own.map(({ space }) => space));
  void claim;
  await assert.rejects(format(system, '/dev/sdb'), code('DEVICE_BUSY'));
  await assert.rejects(attachVbd(system, { source: 'phy:/dev/sdb', target: 'xvda', domain: 'web01' }), code('DEVICE_BUSY'));
  await format(system, '/dev/sda');
});

test('a pool device that can not be looked at is no free neighbour: the attach fails', async () => {
  const { system } = await openWorld();
  await format(system, '/dev/sdb');
  let looks = 0;
  const broken = faultyHost(system.host, (call) =>
    call === 'inspect' && (looks += 1) > 2 ? { error: new XvdError('DEVICE_FAILED', 'planned'), after: false } : null,
  );
  const attach = attachVbd({ ...system, host: broken }, { source: 'phy:/dev/sdb', target: 'xvda', domain: 'web01', expert: 2 });
  await assert.rejects(attach, code('DEVICE_FAILED'));
});

test('a device of the pool under another name is still the pool: phy: by that name is refused', async () => {
  const world = await openWorld();
  const { host } = world;
  await format(world.system, '/dev/sdb');
  const { footprint, sizeBytes } = await host.inspect('/dev/sdb');
  const head = host.store('/dev/sdb').readDirect(0, 4096);
  host.addDevice({ path: '/dev/sdx', sizeBytes, footprint });
  host.store('/dev/sdx').writeDirect(0, head);
  host.pullDevice('/dev/sdb');
  const system = { ...world.system, host: { ...world.system.host, blockDevices: async () => ['/dev/sda', '/dev/sdx'] } };
  const reading = { ...system, readHead: (path: string) => host.store(path).readDirect(0, 4096) };
  await assert.rejects(attachVbd(reading, { source: 'phy:/dev/sdx', target: 'xvda', domain: 'web01', expert: 2 }), code('DEVICE_OVERLAPS_POOL'));
});

test('a create that the catalog fails at its end leaves no space that nobody can have', async () => {
  const { system } = await openWorld();
  await format(system, '/dev/sda');
  for (let failAt = 1; ; failAt += 1) {
    let writes = 0;
    const write: CatalogSystem['catalog']['write'] = (body) => {
      if ((writes += 1) === failAt) throw new XvdError('CATALOG_LOCKED', 'planned');
      return system.catalog.write(body);
    };
    const catalog = failing(system.catalog, write);
    const made = await Promise.try(createDisk, { ...system, catalog }, { sizeBytes: MIB }).catch((error: unknown) => code('CATALOG_LOCKED')(error));
    await checkPool(system, { repair: true });
    if (made !== true) break;
  }
  for (const { id } of await system.catalog.read((reader) => reader.disks({ which: 'living', now: 0 as never })))
    await deleteDisk(system, { disk: String(id) });
  await createDisk(system, { sizeBytes: 8 * MIB });
  assert.deepEqual((await checkPool(system)).problems, []);
});
