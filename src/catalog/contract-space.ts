// The contract of the port: devices, and who has their extents.

import assert from 'node:assert/strict';

import { bytes, extents, wallMs } from '../base/units.ts';
import type { CatalogWriter } from './catalog.ts';
import { addDiskOn, device, disk, now, run, vbd, withDevice, EXTENT, isInvariant } from './fixture.ts';
import type { Check } from './fixture.ts';

export function devices(check: Check): void {
  check('a device comes with its extents unowned and dirty, and goes with them', async (catalog) => {
    await withDevice(catalog);
    const added = { id: 1, ...device() };
    assert.deepEqual(await catalog.read(async (reader) => [await reader.device(1), await reader.devices(), await reader.unownedRuns(1)]), [
      added,
      [added],
      [run(1, 0, 100)],
    ]);
    await catalog.write(async (writer) => {
      await writer.takeUnowned(run(1, 3, 1));
      await writer.addBad(run(1, 3, 1));
    });
    await catalog.write((writer) => writer.removeDevice(1));
    assert.deepEqual(await catalog.read(async (reader) => [await reader.device(1), await reader.badRuns(), await reader.unownedRuns(1)]), [null, [], []]);
    await catalog.write(async (writer) => assert.equal((await writer.addDevice(device())).id, 2));
  });

  check('a device keeps its extents when its path, identity or pool change', async (catalog) => {
    await withDevice(catalog);
    const changed = { id: 1, ...device({ path: '/dev/sdb3', pool: 'fast', blockBytes: 4096, identity: { kind: 'dm', uuid: 'x' } }) };
    await catalog.write((writer) => writer.updateDevice(changed));
    assert.deepEqual(await catalog.read((reader) => reader.device(1)), changed);
    assert.equal((await catalog.read((reader) => reader.longestUnowned('fast', 4096)))?.count, 100);
    assert.equal(await catalog.read((reader) => reader.longestUnowned('default', 512)), null);
    await assert.rejects(
      catalog.write((writer) => writer.updateDevice({ ...changed, extentCount: extents(50) })),
      isInvariant,
    );
  });

  check('a device is not removed while a disk owns extents of it', async (catalog) => {
    await withDevice(catalog);
    await catalog.write((writer) => addDiskOn(writer, [run(1, 0, 1)]));
    await assert.rejects(
      catalog.write((writer) => writer.removeDevice(1)),
      isInvariant,
    );
  });

  check('usage adds up to all extents, by lease and by who can reach', async (catalog) => {
    await withDevice(catalog);
    await catalog.write(async (writer) => {
      await addDiskOn(writer, [run(1, 0, 10, true)]);
      await addDiskOn(writer, [run(1, 10, 20)], { expiresAt: now });
      const reached = await addDiskOn(writer, [run(1, 30, 5)], { expiresAt: now });
      await writer.addVbd(vbd({ source: { kind: 'vd', diskId: reached.id } }));
      await writer.takeUnowned(run(1, 90, 2));
      await writer.addBad(run(1, 90, 2));
    });
    const inExtents = async (at: number): Promise<Record<string, number>> => {
      const usage = await catalog.read(async (reader) => (await reader.usage(wallMs(at))).get(1));
      return Object.fromEntries(Object.entries(usage ?? {}).map(([key, value]) => [key, value / EXTENT]));
    };
    const rest = { badBytes: 2, cleanBytes: 10 };
    assert.deepEqual(await inExtents(1_000), { usedBytes: 10, freeBytes: 83, reservedBytes: 5, reclaimableBytes: 20, ...rest });
    assert.deepEqual(await inExtents(999), { usedBytes: 35, freeBytes: 63, reservedBytes: 0, reclaimableBytes: 0, ...rest });
  });
}

export function space(check: Check): void {
  check('takes from the middle of unowned space and joins it again', async (catalog) => {
    await withDevice(catalog);
    await catalog.write((writer) => addDiskOn(writer, [run(1, 40, 10)]));
    assert.deepEqual(await catalog.read((reader) => reader.unownedRuns(1)), [run(1, 0, 40), run(1, 50, 50)]);
    await catalog.write(async (writer) => {
      await writer.setRuns(1, []);
      await writer.giveUnowned(run(1, 40, 10));
    });
    assert.deepEqual(await catalog.read((reader) => reader.unownedRuns(1)), [run(1, 0, 100)]);
  });

  check('joins neighbours of the same cleanness only', async (catalog) => {
    await withDevice(catalog);
    await catalog.write(async (writer) => {
      await writer.takeUnowned(run(1, 40, 10));
      await writer.giveUnowned(run(1, 40, 10, true));
    });
    assert.deepEqual(await catalog.read((reader) => reader.unownedRuns(1)), [run(1, 0, 40), run(1, 40, 10, true), run(1, 50, 50)]);
    await catalog.write(async (writer) => {
      await writer.takeUnowned(run(1, 30, 10));
      await writer.giveUnowned(run(1, 30, 10, true));
    });
    assert.deepEqual(await catalog.read((reader) => reader.unownedRuns(1)), [run(1, 0, 30), run(1, 30, 20, true), run(1, 50, 50)]);
  });

  check('F6: what is owned is not taken, and nothing is given twice', async (catalog) => {
    await withDevice(catalog);
    await catalog.write((writer) => addDiskOn(writer, [run(1, 0, 10)]));
    const refused = async (body: (writer: CatalogWriter) => Promise<unknown>): Promise<void> => assert.rejects(catalog.write(body), isInvariant);
    await refused((writer) => addDiskOn(writer, [run(1, 9, 2)]));
    await refused((writer) => writer.takeUnowned(run(1, 99, 2)));
    await refused((writer) => writer.giveUnowned(run(1, 5, 1)));
    await refused((writer) => writer.giveUnowned(run(1, 50, 1)));
    await refused((writer) => writer.takeUnowned(run(1, 50, 1)));
    await refused((writer) => writer.addBad(run(1, 5, 1)));
    await refused((writer) => writer.setRuns(1, [run(1, 0, 9)]));
    await refused((writer) => writer.setRuns(1, [run(1, 1, 10)]));
    await refused((writer) => writer.setRuns(1, [run(1, 0, 5), run(1, 0, 5)]));
    await refused((writer) => writer.setRuns(1, [run(2, 0, 10)]));
    await refused(async (writer) => {
      await writer.takeUnowned(run(1, 20, 10));
      await writer.setRuns(1, [run(1, 0, 15), run(1, 20, 5)]);
    });
  });

  check('runs move from disk to disk in one write, in whatever order', async (catalog) => {
    await withDevice(catalog);
    await catalog.write((writer) => addDiskOn(writer, [run(1, 0, 10), run(1, 20, 5)]));
    await catalog.write(async (writer) => {
      const second = await writer.addDisk(disk());
      await writer.setRuns(second.id, [run(1, 22, 3), run(1, 5, 5)]);
      await writer.setRuns(1, [run(1, 0, 5), run(1, 20, 2)]);
    });
    assert.deepEqual(await catalog.read(async (reader) => [await reader.runs(1), await reader.runs(2)]), [
      [run(1, 0, 5), run(1, 20, 2)],
      [run(1, 22, 3), run(1, 5, 5)],
    ]);
    assert.deepEqual(
      (await catalog.read((reader) => reader.ownedRuns())).map((owned) => [owned.firstExtent, owned.diskId, owned.position]),
      [
        [0, 1, 0],
        [5, 2, 1],
        [20, 1, 1],
        [22, 2, 0],
      ],
    );
    assert.deepEqual(
      (await catalog.read((reader) => reader.ownedRunsOn(1, 3))).map((owned) => [owned.firstExtent, owned.diskId, owned.position]),
      [
        [0, 1, 0],
        [5, 2, 1],
        [20, 1, 1],
      ],
    );
    assert.deepEqual(await catalog.read((reader) => reader.ownedRunsOn(2, 3)), []);
  });

  check('F1: runs come back in the order of the disk', async (catalog) => {
    await withDevice(catalog);
    const runs = [run(1, 50, 1), run(1, 10, 3, true), run(1, 90, 2), run(1, 0, 1)];
    await catalog.write((writer) =>
      addDiskOn(
        writer,
        runs.map((each) => ({ ...each, clean: false })),
      ),
    );
    await catalog.write((writer) => writer.setRuns(1, runs));
    assert.deepEqual(await catalog.read((reader) => reader.runs(1)), runs);
  });

  check('bad runs are counted, and can come back', async (catalog) => {
    await withDevice(catalog);
    await catalog.write(async (writer) => {
      await writer.takeUnowned(run(1, 10, 2));
      await writer.addBad(run(1, 10, 2));
    });
    assert.deepEqual(await catalog.read((reader) => reader.badRuns()), [run(1, 10, 2)]);
    await assert.rejects(
      catalog.write((writer) => writer.removeBad(run(1, 10, 1))),
      isInvariant,
    );
    await catalog.write(async (writer) => {
      await writer.removeBad(run(1, 10, 2));
      await writer.giveUnowned(run(1, 10, 2));
    });
    assert.deepEqual(await catalog.read((reader) => reader.unownedRuns(1)), [run(1, 0, 100)]);
  });

  check('finds the smallest run that fits and the longest, ties by place, in its pool and block size only', async (catalog) => {
    await catalog.write(async (writer) => {
      await writer.addDevice(device({ uuid: 'd1' }));
      await writer.addDevice(device({ uuid: 'd2', extentBytes: bytes(2 * EXTENT), extentCount: extents(20) }));
      await writer.addDevice(device({ uuid: 'd3', pool: 'other', extentCount: extents(1000) }));
      await writer.addDevice(device({ uuid: 'd4', blockBytes: 4096, extentCount: extents(1000) }));
      await addDiskOn(writer, [run(1, 10, 1), run(1, 21, 1), run(1, 62, 1), run(2, 5, 1)]);
    });
    const smallest = (count: number) => catalog.read(async (reader) => reader.smallestUnowned('default', 512, bytes(count * EXTENT)));
    const free = (deviceId: number, first: number, count: number, extentBytes = EXTENT) => ({
      ...run(deviceId, first, count),
      extentBytes,
      bytes: count * extentBytes,
    });
    assert.deepEqual(await smallest(1), free(1, 0, 10));
    assert.deepEqual(await smallest(10), free(1, 0, 10));
    assert.deepEqual(await smallest(11), free(2, 6, 14, 2 * EXTENT));
    assert.deepEqual(await smallest(29), free(1, 63, 37));
    assert.deepEqual(await smallest(38), free(1, 22, 40));
    assert.equal(await smallest(41), null);
    assert.deepEqual(await catalog.read((reader) => reader.longestUnowned('default', 512)), free(1, 22, 40));
    assert.equal(await catalog.read((reader) => reader.longestUnowned('none', 512)), null);
    const all = (97 + 2 * 19) * EXTENT;
    assert.equal(await catalog.read((reader) => reader.allocatableBytes('default', 512, now)), all);
    for (const enough of [1, 50 * EXTENT, all, all + EXTENT]) {
      const counted = await catalog.read((reader) => reader.allocatableBytes('default', 512, now, bytes(enough)));
      assert.ok(counted >= Math.min(enough, all) && counted <= all, `${counted} of ${all}`);
    }
  });
}
