// A pool device that was moved or replaced is bound again after both were shown.

import assert from 'node:assert/strict';

import { MIB } from '../base/units.ts';
import { adoptDevice } from './adopt-device.ts';
import { createDisk } from './create-disk.ts';
import { eachCatalog, code, DISK_BYTES } from './fixture-system.ts';
import type { Rig } from './fixture-system.ts';
import { formatDevice } from './format-device.ts';
import { extentsOf } from './extents-of.ts';
import { listDevices } from './list-devices.ts';
import { refuseStale } from './read-labels.ts';
import { writeLabels } from './write-labels.ts';

/** The bytes of one device on another, as dd leaves them. */
function copyBytes({ system }: Rig, from: string, to: string, length: number): void {
  system.host.store(to).writeDirect(0, system.host.store(from).readDirect(0, length));
}

async function pool(rig: Rig): Promise<void> {
  await formatDevice(rig.system, { device: '/dev/sda', extentBytes: MIB, wipe: true });
  await createDisk(rig.system, { sizeBytes: DISK_BYTES });
  await writeLabels(rig.system);
}

eachCatalog('one that was moved is found by its label; all that lies on it is dirty then', async (rig) => {
  const { system } = rig;
  await pool(rig);
  system.host.addDevice({ path: '/dev/sdc', sizeBytes: 66 * MIB });
  copyBytes(rig, '/dev/sda', '/dev/sdc', 66 * MIB);
  system.host.pullDevice('/dev/sda');
  const shown = await adoptDevice(system, { device: '/dev/sdc', dryRun: true });
  assert.deepEqual([shown.changed, shown.was.device, shown.is.device], [false, '/dev/sda', '/dev/sdc']);
  assert.equal((await listDevices(system))[0]?.device, '/dev/sda');
  const adopted = await adoptDevice(system, { device: '/dev/sdc' });
  assert.deepEqual([adopted.changed, adopted.cleanBytes, adopted.usedBytes], [true, 0, DISK_BYTES]);
  assert.equal((await extentsOf(system, 'vd:1'))[0]?.device, '/dev/sdc');
  assert.equal((await adoptDevice(system, { device: '/dev/sdc' })).changed, false);
});

eachCatalog('a blank replacement takes the place of the only one that is missing, and gets its labels', async (rig) => {
  const { system } = rig;
  await pool(rig);
  system.host.pullDevice('/dev/sda');
  system.host.addDevice({ path: '/dev/sdc', sizeBytes: 80 * MIB });
  const adopted = await adoptDevice(system, { device: '/dev/sdc' });
  assert.deepEqual([adopted.was.device, adopted.changed], ['/dev/sda', true]);
  assert.deepEqual((await writeLabels(system)).written, ['/dev/sdc']);
  await refuseStale(system);
  assert.equal((await createDisk(system, { sizeBytes: MIB })).state, 'live');
});

eachCatalog('what would not fit, is busy, or is somebody else’s is refused', async (rig) => {
  const { system } = rig;
  await pool(rig);
  system.host.addDevice({ path: '/dev/sdc', sizeBytes: 65 * MIB });
  await assert.rejects(adoptDevice(system, { device: '/dev/sdc' }), code('VALUE_INVALID', /none of the pool is missing/));
  await assert.rejects(adoptDevice(system, { device: '/dev/sdc', replaces: '/dev/sda' }), code('DEVICE_TOO_SMALL', /\/dev\/sda had/));
  await assert.rejects(adoptDevice(system, { device: '/dev/sdc', replaces: '/dev/none' }), code('DEVICE_NOT_FOUND'));
  system.host.addDevice({ path: '/dev/sdd', sizeBytes: 66 * MIB });
  const worker = await system.catalog.write((writer) => writer.addWorker({ kind: 'export', diskId: 1, bootId: 'boot-1', pid: 1, startTicks: 1, pipe: 'p' }));
  await assert.rejects(adoptDevice(system, { device: '/dev/sdd', replaces: '/dev/sda' }), code('DEVICE_BUSY', /vd:1/));
  await system.catalog.write((writer) => writer.removeWorker(worker.id));
  const other = await rig.another();
  await formatDevice(other, { device: '/dev/sdd', extentBytes: MIB });
  await assert.rejects(adoptDevice(system, { device: '/dev/sdd', replaces: '/dev/sda' }), code('LABEL_FOREIGN'));
  await formatDevice(system, { device: '/dev/sdb', extentBytes: MIB });
  await assert.rejects(adoptDevice(system, { device: '/dev/sdb', replaces: '/dev/sda' }), code('DEVICE_OVERLAPS_POOL'));
});

eachCatalog(
  'after the host got another name its devices are adopted one by one',
  async (rig) => {
    await pool(rig);
    const renamed = { ...rig.system, hostName: 'there' };
    await assert.rejects(refuseStale(renamed), code('LABEL_FOREIGN'));
    const adopted = await adoptDevice(renamed, { device: '/dev/sda' });
    assert.deepEqual([adopted.changed, adopted.was.host, adopted.is.host], [true, 'here', 'there']);
    await refuseStale(renamed);
  },
  ['LABEL_FOREIGN'],
);
