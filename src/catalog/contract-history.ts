// The contract of the port: what commits found of disks, disks that come from elsewhere, and numbers that never fall.

import assert from 'node:assert/strict';

import { wallMs } from '../base/units.ts';
import { addDiskOn, disk, run, withDevice, isInvariant } from './fixture.ts';
import type { Check } from './fixture.ts';

const event = { time: wallMs(1), type: 't', subject: 's', cause: 'c', data: {} };

export function history(check: Check): void {
  check('each commit keeps what it found of the disks that it changed', async (catalog) => {
    await withDevice(catalog);
    const first = await catalog.write(async (writer) => {
      await writer.addEvent(event);
      return addDiskOn(writer, [run(1, 0, 2), run(1, 5, 1)], { name: 'a', labels: { k: 'v' } });
    });
    await catalog.write(async (writer) => {
      await writer.addEvent(event);
      await writer.updateDisk({ ...first, name: 'b' });
      await writer.updateDisk({ ...first, name: 'c' });
    });
    await catalog.write(async (writer) => {
      await writer.setRuns(1, [run(1, 0, 2)]);
      await writer.giveUnowned(run(1, 5, 1));
    });
    const seen = await catalog.read((reader) => reader.history(1));
    assert.deepEqual(seen, [
      { commitNumber: 4, nextEventId: 3, before: [{ diskId: 1, runs: [run(1, 0, 2), run(1, 5, 1)] }] },
      { commitNumber: 3, nextEventId: 3, before: [{ diskId: 1, disk: first }] },
      { commitNumber: 2, nextEventId: 2, before: [{ diskId: 1, disk: null }] },
    ]);
    assert.equal((await catalog.read((reader) => reader.history(2))).length, 2);
    assert.deepEqual(await catalog.read((reader) => reader.history(3)), []);
  });

  check('history is kept as long as the events beside it', async (catalog) => {
    for (let round = 0; round < 30; round += 1) {
      await catalog.write(async (writer) => {
        for (let time = 0; time < 10; time += 1) await writer.addEvent(event);
        await writer.addDisk(disk());
      });
    }
    assert.deepEqual(
      (await catalog.read((reader) => reader.history(0))).map((entry) => entry.nextEventId),
      [301, 291],
    );
  });

  check('a disk comes with its ID, which nobody else gets', async (catalog) => {
    await catalog.write((writer) => writer.addDiskWithId({ ...disk({ name: 'a' }), id: 7 }));
    assert.deepEqual(await catalog.read((reader) => reader.disk(7)), { ...disk({ name: 'a' }), id: 7 });
    assert.equal((await catalog.write((writer) => writer.addDisk(disk()))).id, 8);
    await catalog.write((writer) => writer.addDiskWithId({ ...disk(), id: 3 }));
    assert.equal((await catalog.write((writer) => writer.addDisk(disk()))).id, 9);
    await assert.rejects(
      catalog.write((writer) => writer.addDiskWithId({ ...disk(), id: 9 })),
      isInvariant,
    );
  });

  check('numbers are raised, never lowered; the catalog takes an identity', async (catalog) => {
    await catalog.write((writer) => writer.raiseNumbers({ commit: 40, disk: 5, generation: 6, event: 7 }));
    await catalog.write((writer) => writer.raiseNumbers({ commit: 2, disk: 1, generation: 1, event: 1 }));
    assert.deepEqual(await catalog.read((reader) => reader.highest()), { disk: 5, generation: 6, event: 7 });
    assert.equal(await catalog.read((reader) => reader.commitNumber()), 42);
    await catalog.write((writer) => writer.setCatalogId('another'));
    assert.equal(await catalog.read((reader) => reader.catalogId()), 'another');
  });
}
