// Extents that can't be wiped become bad, the disk gets others, and `check` tries them again.

import assert from 'node:assert/strict';

import { XvdError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import { bytes, MIB } from '../base/units.ts';
import type { Host } from '../host/host.ts';
import { checkPool } from './check-pool.ts';
import { createDisk } from './create-disk.ts';
import { events } from './events.ts';
import { eachCatalog, code } from './fixture-system.ts';
import type { Rig } from './fixture-system.ts';
import { formatDevice } from './format-device.ts';
import { listDevices } from './list-devices.ts';
import { listDisks } from './list-disks.ts';
import type { CatalogSystem } from './system.ts';

/** The extents of /dev/sda that fail, as the system sees them; emptied, they work again. */
function failing({ system }: Rig, extents: Set<number>, extentBytes: number): CatalogSystem {
  const refuse = (path: string, offsetBytes: number, lengthBytes: number): void => {
    for (const extent of path === '/dev/sda' ? extents : []) {
      const start = MIB + extent * extentBytes;
      if (start < offsetBytes + lengthBytes && offsetBytes < start + extentBytes) throw new XvdError('DEVICE_FAILED', `${path} fails at byte ${start}`);
    }
  };
  const host: Host = {
    ...system.host,
    zero: async (device, ranges, progress, signal) => {
      for (const range of ranges) refuse(device.path, range.offsetBytes, range.lengthBytes);
      await system.host.zero(device, ranges, progress, signal);
    },
    readBytes: async (device, range) => {
      refuse(device.path, range.offsetBytes, range.lengthBytes);
      return system.host.readBytes(device, range);
    },
  };
  return { ...system, host };
}

const fill = ({ system }: Rig, path: string): void => system.host.store(path).writeDirect(MIB, new Uint8Array(32 * MIB).fill(0xee));

async function readsZeros({ system }: Rig, diskId: number): Promise<boolean> {
  const { runs, devices } = await system.catalog.read(async (reader) => ({ runs: await reader.runs(diskId), devices: await reader.devices() }));
  for (const run of runs) {
    const device = devices.find(({ id }) => id === run.deviceId);
    assert.ok(device);
    const seen = system.host.store(device.path).readDirect(device.dataStartBytes + run.firstExtent * device.extentBytes, run.count * device.extentBytes);
    if (seen.some((byte) => byte !== 0)) return false;
  }
  return true;
}

eachCatalog('what fails is found one by one, marked, told and replaced; the disk reads as zeros all over', async (rig) => {
  await formatDevice(rig.system, { device: '/dev/sda', extentBytes: MIB });
  fill(rig, '/dev/sda');
  const bad = new Set([0, 5, 6, 11]);
  const system = failing(rig, bad, MIB);
  const disk = await createDisk(system, { sizeBytes: 12 * MIB });
  assert.equal(disk.state, 'live');
  assert.deepEqual(
    (await system.catalog.read((reader) => reader.badRuns())).map(({ firstExtent, count }) => [firstExtent, count]),
    [
      [0, 1],
      [5, 1],
      [6, 1],
      [11, 1],
    ],
  );
  assert.deepEqual(
    (await listDevices(system)).map(({ badBytes, usedBytes }) => [badBytes, usedBytes]),
    [[4 * MIB, 12 * MIB]],
  );
  assert.equal((await events(system)).filter(({ type }) => type === 'device.bad-extents').length, 4);
  assert.ok(await readsZeros(rig, disk.id), 'F12, I4');
  // Still bad: nobody gets them, and check finds nothing wrong with that.
  assert.deepEqual(await checkPool(system), { problems: [] });
  // One works again.
  bad.delete(5);
  assert.deepEqual(
    (await checkPool(system)).problems.map((problem) => [problem.code, problem.repaired]),
    [['EXTENTS_BAD', true]],
  );
  assert.equal((await listDevices(system))[0]?.badBytes, 3 * MIB);
  bad.clear();
  await checkPool(system);
});

eachCatalog('the slack of the last extent is wiped when it gets into the middle', async (rig) => {
  await formatDevice(rig.system, { device: '/dev/sda', extentBytes: 4 * MIB });
  fill(rig, '/dev/sda');
  const bad = new Set([0]);
  const disk = await createDisk(failing(rig, bad, 4 * MIB), { sizeBytes: 7 * MIB });
  const [, last] = await rig.system.catalog.read((reader) => reader.runs(disk.id));
  assert.ok(last === undefined || !last.clean, 'the slack stays dirty');
  const runs = await rig.system.catalog.read((reader) => reader.runs(disk.id));
  const [first] = runs;
  assert.ok(first);
  const seen = rig.system.host.store('/dev/sda').readDirect(MIB + first.firstExtent * 4 * MIB, 7 * MIB);
  assert.ok(seen.every((byte) => byte === 0));
  bad.clear();
  await checkPool(rig.system);
});

eachCatalog('when nothing is left in their place the create fails, and what is bad stays marked', async (rig) => {
  await formatDevice(rig.system, { device: '/dev/sda', extentBytes: MIB });
  const bad = new Set([3]);
  const system = failing(rig, bad, MIB);
  await assert.rejects(createDisk(system, { sizeBytes: 64 * MIB, name: 'a' }), code('POOL_FULL', /1 extents for vd:1 are bad/));
  assert.deepEqual(await listDisks(system, { which: 'all' }), []);
  assert.deepEqual(
    (await listDevices(system)).map(({ badBytes, freeBytes, cleanBytes }) => [badBytes, freeBytes, cleanBytes]),
    [[MIB, 63 * MIB, 63 * MIB]],
  );
  assert.equal((await createDisk(system, { sizeBytes: 63 * MIB, name: 'a' })).id, 2);
  bad.clear();
  await checkPool(rig.system);
});

eachCatalog('a device that fails all over, and one that is gone, fail the create', async (rig) => {
  await formatDevice(rig.system, { device: '/dev/sda', extentBytes: bytes(MIB / 4) });
  const bad = new Set(Array.from({ length: 256 }, (_, index) => index));
  const system = failing(rig, bad, MIB / 4);
  await assert.rejects(createDisk(system, { sizeBytes: 60 * MIB }), code('DEVICE_FAILED'));
  assert.equal((await listDevices(system))[0]?.badBytes, (limits.badExtentsPerWipe * MIB) / 4);
  const gone: Host = {
    ...rig.system.host,
    zero: async () => {
      throw new XvdError('DEVICE_FAILED', 'no answer');
    },
    verify: async () => {
      throw new XvdError('DEVICE_NOT_FOUND', 'it is gone');
    },
  };
  await assert.rejects(createDisk({ ...rig.system, host: gone }, { sizeBytes: MIB }), code('DEVICE_NOT_FOUND'));
  assert.equal((await listDevices(system))[0]?.badBytes, (limits.badExtentsPerWipe * MIB) / 4, 'a device that is gone is not bad');
  bad.clear();
  await checkPool(rig.system);
});
