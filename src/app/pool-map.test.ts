import assert from 'node:assert/strict';

import { MIB } from '../base/units.ts';
import { createDisk } from './create-disk.ts';
import { deleteDisk } from './delete-disk.ts';
import { eachCatalog, code } from './fixture-system.ts';
import { formatDevice } from './format-device.ts';
import { poolMap } from './pool-map.ts';

eachCatalog('the map tells of each run whose it is and what it is', async ({ system, pass }) => {
  await formatDevice(system, { device: '/dev/sda', extentBytes: 4 * MIB, wipe: true });
  await formatDevice(system, { device: '/dev/sdb', extentBytes: 4 * MIB });
  for (const name of ['a', 'b', 'c']) await createDisk(system, { sizeBytes: 24 * MIB, name });
  await deleteDisk(system, { disk: 'a' });
  pass(1);
  await deleteDisk(system, { disk: 'b' });
  await createDisk(system, { sizeBytes: 32 * MIB, name: 'd' });
  const worker = await system.catalog.write((writer) => writer.addWorker({ kind: 'export', diskId: 2, bootId: 'boot-1', pid: 1, startTicks: 1, pipe: 'p' }));
  const alive = await system.host.holdAlive('p');
  const { devices } = await poolMap(system);
  const all = devices.flatMap(({ runs }) => runs);
  for (const { extents, runs } of devices) {
    const ends = [0, ...runs.map((run) => run.firstExtent + run.extents)];
    assert.deepEqual([...runs.map((run) => run.firstExtent), extents], ends);
  }
  assert.deepEqual([...new Set(all.filter((run) => run.disk === 'vd:2').map((run) => run.kind))], ['reserved']);
  assert.deepEqual([...new Set(all.filter((run) => run.disk === 'vd:1').map((run) => run.kind))], ['reclaimed']);
  assert.deepEqual(new Set(all.filter((run) => run.disk === 'vd:3' || run.disk === 'vd:4').map((run) => run.kind)), new Set(['living']));
  assert.equal((await poolMap(system, { device: '/dev/sdb' })).devices.length, 1);
  await assert.rejects(poolMap(system, { device: '/dev/none' }), code('DEVICE_NOT_FOUND'));
  await alive[Symbol.asyncDispose]();
  await system.catalog.write((writer) => writer.removeWorker(worker.id));
});
