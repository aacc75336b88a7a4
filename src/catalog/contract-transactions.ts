// The contract of the port: transactions, and the numbers of the catalog itself.

import assert from 'node:assert/strict';

import { wallMs } from '../base/units.ts';
import type { CatalogWriter } from './catalog.ts';
import { addDiskOn, disk, fixedClock, now, picture, run, vbd, withDevice, isInvariant } from './fixture.ts';
import type { Check } from './fixture.ts';

export function transactions(check: Check): void {
  check('an untouched catalog reads as empty', async (catalog) => {
    const seen = await catalog.read(async (reader) => [
      await reader.devices(),
      await reader.disks({ which: 'all', now }),
      await reader.vbds(),
      await reader.events(0, 9),
      await reader.lastClock(),
      await reader.commitNumber(),
    ]);
    assert.deepEqual(seen, [[], [], [], [], null, 0]);
  });

  check('a write that throws has changed nothing, and numbers are not used up', async (catalog) => {
    await withDevice(catalog);
    const before = await catalog.read((reader) => picture(reader, now));
    await assert.rejects(
      catalog.write(async (writer) => {
        await addDiskOn(writer, [run(1, 0, 5)], { name: 'a', labels: { k: 'v' } });
        await writer.addVbd(vbd());
        await writer.addEvent({ time: now, type: 'disk.created', subject: 'vd:1', cause: 'test', data: {} });
        await writer.storeClock(fixedClock.read(), now);
        throw new RangeError('no');
      }),
      RangeError,
    );
    assert.deepEqual(await catalog.read((reader) => picture(reader, now)), before);
    await catalog.write(async (writer) => assert.equal((await writer.addDisk(disk())).id, 1));
  });

  check('a writer sees its own changes, others only committed ones', async (catalog) => {
    await catalog.write(async (writer) => {
      await writer.addDisk(disk({ name: 'a' }));
      assert.equal((await writer.diskByName('a'))?.id, 1);
      assert.equal(await catalog.read(async (reader) => reader.diskByName('a')), null);
    });
    assert.equal((await catalog.read(async (reader) => reader.diskByName('a')))?.id, 1);
  });

  check('a reader keeps its one state while others write', async (catalog) => {
    await catalog.write(async (writer) => void (await writer.addDisk(disk({ name: 'a' }))));
    await catalog.read(async (reader) => {
      assert.equal((await reader.disks({ which: 'all', now })).length, 1);
      await catalog.write(async (writer) => void (await writer.addDisk(disk({ name: 'b' }))));
      assert.equal((await reader.disks({ which: 'all', now })).length, 1);
      assert.equal(await reader.commitNumber(), 1);
    });
    assert.equal(await catalog.read((reader) => reader.commitNumber()), 2);
  });

  check('writers that ask at once go one after the other, in order', async (catalog) => {
    const ids = await Promise.all(Array.from({ length: 20 }, () => catalog.write(async (writer) => (await writer.addDisk(disk())).id)));
    assert.deepEqual(
      ids,
      Array.from({ length: 20 }, (_, index) => index + 1),
    );
    assert.equal(await catalog.read((reader) => reader.commitNumber()), 20);
  });

  check('a write that failed does not stop those behind it', async (catalog) => {
    const outcomes = await Promise.allSettled([
      catalog.write(async () => Promise.reject(new RangeError('no'))),
      catalog.write(async (writer) => (await writer.addDisk(disk())).id),
    ]);
    assert.deepEqual(
      outcomes.map((outcome) => outcome.status),
      ['rejected', 'fulfilled'],
    );
  });

  check('a transaction object is dead once its function has returned', async (catalog) => {
    let kept: CatalogWriter | undefined;
    await catalog.write(async (writer) => void (kept = writer));
    await assert.rejects(async () => kept?.disks({ which: 'all', now }), isInvariant);
    await assert.rejects(async () => kept?.addDisk(disk()), isInvariant);
    await assert.rejects(async () => kept?.commitNumber(), isInvariant);
    await assert.rejects(async () => kept?.storeClock(fixedClock.read(), now), isInvariant);
    const reader = await catalog.read(async (each) => each);
    await assert.rejects(async () => reader.devices(), isInvariant);
  });

  check('keeps its identity, counts commits, stores the clock, and marks every change', async (catalog) => {
    await catalog.write(async () => {});
    const id = await catalog.read((reader) => reader.catalogId());
    assert.match(id, /^[0-9a-f-]{36}$/);
    const mark = await catalog.changeMark();
    assert.equal(await catalog.changeMark(), mark);
    const { synchronised: _, ...reading } = fixedClock.read();
    await catalog.write(async (writer) => writer.storeClock(reading, wallMs(77)));
    assert.notEqual(await catalog.changeMark(), mark);
    assert.deepEqual(await catalog.read(async (reader) => [await reader.catalogId(), await reader.commitNumber(), await reader.lastClock()]), [
      id,
      2,
      { reading, trustedMs: 77 },
    ]);
  });
}
