// The contract of the port, as tests: every implementation passes them all.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { InvariantError } from '../base/invariant.ts';
import { XvdError } from '../base/error.ts';
import { bytes, extents, MIB, wallMs } from '../base/units.ts';
import type { Catalog, CatalogWriter } from './catalog.ts';
import { addDiskOn, device, disk, fixedClock, picture, proved, run, vbd, worker } from './fixture.ts';

/** An empty catalog that keeps `eventsKept` events; the test disposes of it, `clean` of what lies under it. */
export type MakeCatalog = (options: { readonly eventsKept: number }) => Promise<{ readonly catalog: Catalog; readonly clean: () => Promise<void> }>;

const EXTENT = 64 * MIB;
const now = wallMs(1_000);

export function catalogContract(name: string, make: MakeCatalog): void {
  const check = (says: string, body: (catalog: Catalog) => Promise<void>): void => {
    test(`${name}: ${says}`, async () => {
      const made = await make({ eventsKept: 20 });
      try {
        await body(made.catalog);
        await proved(made.catalog);
      } finally {
        await made.catalog[Symbol.asyncDispose]();
        await made.clean();
      }
    });
  };
  transactions(check);
  devices(check);
  space(check);
  disks(check);
  pages(check);
  reach(check);
  events(check);
}

type Check = (says: string, body: (catalog: Catalog) => Promise<void>) => void;

const isInvariant = (error: unknown): boolean => error instanceof InvariantError;
const hasCode = (code: string) => (error: unknown): boolean => error instanceof XvdError && error.code === code;

/** A device of 100 extents, as number 1. */
const withDevice = (catalog: Catalog): Promise<void> => catalog.write(async (writer) => void (await writer.addDevice(device())));

function transactions(check: Check): void {
  check('an untouched catalog reads as empty', async (catalog) => {
    const seen = await catalog.read(async (reader) => [await reader.devices(), await reader.disks({ which: 'all', now }), await reader.vbds(), await reader.events(0, 9), await reader.lastClock(), await reader.commitNumber()]);
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
    assert.deepEqual(ids, Array.from({ length: 20 }, (_, index) => index + 1));
    assert.equal(await catalog.read((reader) => reader.commitNumber()), 20);
  });

  check('a write that failed does not stop those behind it', async (catalog) => {
    const outcomes = await Promise.allSettled([
      catalog.write(async () => Promise.reject(new RangeError('no'))),
      catalog.write(async (writer) => (await writer.addDisk(disk())).id),
    ]);
    assert.deepEqual(outcomes.map((outcome) => outcome.status), ['rejected', 'fulfilled']);
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
    const reading = fixedClock.read();
    await catalog.write(async (writer) => writer.storeClock(reading, wallMs(77)));
    assert.notEqual(await catalog.changeMark(), mark);
    assert.deepEqual(await catalog.read(async (reader) => [await reader.catalogId(), await reader.commitNumber(), await reader.lastClock()]), [id, 2, { reading, trustedMs: 77 }]);
  });
}

function devices(check: Check): void {
  check('a device comes with its extents unowned and dirty, and goes with them', async (catalog) => {
    await withDevice(catalog);
    const added = { id: 1, ...device() };
    assert.deepEqual(await catalog.read(async (reader) => [await reader.device(1), await reader.devices(), await reader.unownedRuns(1)]), [added, [added], [run(1, 0, 100)]]);
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
    await assert.rejects(catalog.write((writer) => writer.updateDevice({ ...changed, extentCount: extents(50) })), isInvariant);
  });

  check('a device is not removed while a disk owns extents of it', async (catalog) => {
    await withDevice(catalog);
    await catalog.write((writer) => addDiskOn(writer, [run(1, 0, 1)]));
    await assert.rejects(catalog.write((writer) => writer.removeDevice(1)), isInvariant);
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

function space(check: Check): void {
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
    assert.deepEqual(await catalog.read(async (reader) => [await reader.runs(1), await reader.runs(2)]), [[run(1, 0, 5), run(1, 20, 2)], [run(1, 22, 3), run(1, 5, 5)]]);
    assert.deepEqual((await catalog.read((reader) => reader.ownedRuns())).map((owned) => [owned.firstExtent, owned.diskId, owned.position]), [[0, 1, 0], [5, 2, 1], [20, 1, 1], [22, 2, 0]]);
  });

  check('F1: runs come back in the order of the disk', async (catalog) => {
    await withDevice(catalog);
    const runs = [run(1, 50, 1), run(1, 10, 3, true), run(1, 90, 2), run(1, 0, 1)];
    await catalog.write((writer) => addDiskOn(writer, runs.map((each) => ({ ...each, clean: false }))));
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
    await assert.rejects(catalog.write((writer) => writer.removeBad(run(1, 10, 1))), isInvariant);
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
    const free = (deviceId: number, first: number, count: number, extentBytes = EXTENT) => ({ ...run(deviceId, first, count), extentBytes, bytes: count * extentBytes });
    assert.deepEqual(await smallest(1), free(1, 0, 10));
    assert.deepEqual(await smallest(10), free(1, 0, 10));
    assert.deepEqual(await smallest(11), free(2, 6, 14, 2 * EXTENT));
    assert.deepEqual(await smallest(29), free(1, 63, 37));
    assert.deepEqual(await smallest(38), free(1, 22, 40));
    assert.equal(await smallest(41), null);
    assert.deepEqual(await catalog.read((reader) => reader.longestUnowned('default', 512)), free(1, 22, 40));
    assert.equal(await catalog.read((reader) => reader.longestUnowned('none', 512)), null);
    assert.equal(await catalog.read((reader) => reader.allocatableBytes('default', 512, now)), (97 + 2 * 19) * EXTENT);
  });
}

function disks(check: Check): void {
  check('a disk is stored and changed as it is', async (catalog) => {
    const all = disk({ name: 'a', labels: { owner: 'x', 'it\'s': '"q"' }, expiresAt: wallMs(5), onExpiry: 'hold', preparing: true, suspect: true, lostBytes: bytes(3), blockBytes: 4096 });
    const added = await catalog.write((writer) => writer.addDisk(all));
    assert.deepEqual(added, { id: 1, ...all });
    assert.deepEqual(await catalog.read((reader) => reader.disk(1)), added);
    const changed = { ...added, name: 'b', labels: {}, expiresAt: null, preparing: false, lostBytes: bytes(9) };
    await catalog.write((writer) => writer.updateDisk(changed));
    assert.deepEqual(await catalog.read(async (reader) => [await reader.disk(1), await reader.diskByName('b'), await reader.diskByName('a')]), [changed, changed, null]);
    assert.equal(await catalog.read((reader) => reader.disk(2)), null);
    await assert.rejects(catalog.write((writer) => writer.updateDisk({ ...changed, id: 7 })), isInvariant);
  });

  check('a name is of one disk, until that gives it up in the same write', async (catalog) => {
    const first = await catalog.write((writer) => writer.addDisk(disk({ name: 'a', expiresAt: wallMs(1) })));
    await assert.rejects(catalog.write((writer) => writer.addDisk(disk({ name: 'a' }))), hasCode('NAME_TAKEN'));
    const second = await catalog.write(async (writer) => {
      await writer.updateDisk({ ...first, name: null });
      return writer.addDisk(disk({ name: 'a' }));
    });
    assert.equal((await catalog.read((reader) => reader.diskByName('a')))?.id, second.id);
    await assert.rejects(catalog.write((writer) => writer.updateDisk({ ...first, name: 'a' })), hasCode('NAME_TAKEN'));
  });

  check('the ID of a removed disk is not used again', async (catalog) => {
    await withDevice(catalog);
    await catalog.write((writer) => addDiskOn(writer, [run(1, 0, 1)], { name: 'a', labels: { k: 'v1' } }));
    await assert.rejects(catalog.write((writer) => writer.removeDisk(1)), isInvariant);
    await catalog.write(async (writer) => {
      await writer.setRuns(1, []);
      await writer.giveUnowned(run(1, 0, 1));
      await writer.removeDisk(1);
    });
    assert.equal(await catalog.read((reader) => reader.disk(1)), null);
    assert.equal((await catalog.write((writer) => writer.addDisk(disk({ name: 'a' })))).id, 2);
    await assert.rejects(catalog.write((writer) => writer.removeDisk(1)), isInvariant);
  });

  check('space is reclaimed from the disk that expired longest ago, of its pool and block size, out of reach, with runs left', async (catalog) => {
    await withDevice(catalog);
    await catalog.write(async (writer) => {
      const at = (expiresAt: number | null, over = {}) => ({ expiresAt: expiresAt === null ? null : wallMs(expiresAt), ...over });
      await addDiskOn(writer, [run(1, 0, 1)], at(null));
      await addDiskOn(writer, [run(1, 1, 2)], at(500));
      await addDiskOn(writer, [run(1, 3, 3)], at(400));
      await addDiskOn(writer, [run(1, 6, 4)], at(400));
      await addDiskOn(writer, [run(1, 10, 5)], at(100, { pool: 'other' }));
      await addDiskOn(writer, [run(1, 15, 5)], at(100, { blockBytes: 4096 }));
      await addDiskOn(writer, [], at(50));
      const reached = await addDiskOn(writer, [run(1, 20, 5)], at(60));
      await writer.addWorker(worker(reached.id));
    });
    const next = (by: number) => catalog.read(async (reader) => (await reader.nextReclaimable('default', 512, wallMs(by)))?.id ?? null);
    assert.equal(await next(399), null);
    assert.equal(await next(400), 3);
    assert.equal(await catalog.read((reader) => reader.allocatableBytes('default', 512, wallMs(500))), (75 + 2 + 3 + 4) * EXTENT);
    await catalog.write(async (writer) => {
      const [taken] = await writer.runs(3);
      await writer.setRuns(3, []);
      await writer.setRuns(1, [...(await writer.runs(1)), taken ?? run(1, 3, 3)]);
    });
    assert.equal(await next(1_000), 4);
    await catalog.write((writer) => writer.removeWorker(1));
    assert.equal(await next(1_000), 8);
  });

  check('the next ends of leases come soonest first', async (catalog) => {
    await catalog.write(async (writer) => {
      for (const expiresAt of [30, null, 10, 20, 20, 5]) await writer.addDisk(disk({ expiresAt: expiresAt === null ? null : wallMs(expiresAt) }));
    });
    const next = (after: number, limit: number) => catalog.read(async (reader) => (await reader.nextExpiries(wallMs(after), limit)).map((each) => each.id));
    assert.deepEqual(await next(5, 10), [3, 4, 5, 1]);
    assert.deepEqual(await next(5, 2), [3, 4]);
    assert.deepEqual(await next(30, 10), []);
  });
}

function pages(check: Check): void {
  check('F16: pages by ID, living while now < expiresAt and expired from then on, over many disks', async (catalog) => {
    // Living: one in a hundred, and never-ending ones at both ends.
    const expiresAt = (id: number) => (id === 1 || id === 1500 ? null : wallMs(id % 100 === 0 ? 1_001 : 1_000));
    await catalog.write(async (writer) => {
      for (let id = 1; id <= 1500; id += 1) await writer.addDisk(disk({ expiresAt: expiresAt(id), labels: id % 50 === 0 ? { k: 'v' } : {} }));
    });
    const ids = (filter: object) => catalog.read(async (reader) => (await reader.disks({ which: 'living', now, ...filter })).map((each) => each.id));
    const living = [1, ...Array.from({ length: 15 }, (_, index) => (index + 1) * 100)];
    assert.deepEqual(await ids({}), living);
    assert.deepEqual(await ids({ limit: 3 }), [1, 100, 200]);
    assert.deepEqual(await ids({ limit: 3, afterId: 200 }), [300, 400, 500]);
    assert.deepEqual(await ids({ afterId: 1400 }), [1500]);
    assert.deepEqual(await ids({ afterId: 1500 }), []);
    assert.deepEqual(await ids({ limit: 0 }), []);
    assert.equal((await ids({ which: 'all' })).length, 1500);
    assert.equal((await ids({ which: 'expired' })).length, 1500 - living.length);
    assert.deepEqual(await ids({ which: 'expired', limit: 2, afterId: 99 }), [101, 102]);
    assert.deepEqual(await ids({ which: 'expired', label: { key: 'k', value: 'v' }, limit: 2 }), [50, 150]);
    assert.deepEqual(await ids({ label: { key: 'k', value: 'v' }, afterId: 100, limit: 2 }), [200, 300]);
    assert.deepEqual(await ids({ label: { key: 'k', value: 'w' } }), []);
  });
}

function reach(check: Check): void {
  check('VBDs keep their numbers, and are gone once detached', async (catalog) => {
    await catalog.write(async (writer) => void (await writer.addDisk(disk())));
    const first = await catalog.write((writer) => writer.addVbd(vbd({ limit: '10M', uri: 'nbd+unix:///x', devicePath: '/dev/dm-0', persist: true, sharing: 2 })));
    const second = await catalog.write((writer) => writer.addVbd(vbd({ domain: 'web', target: '/dev/xvdb', source: { kind: 'phy', path: '/dev/sdz' } })));
    assert.deepEqual([first.generation, second.generation], [1, 2]);
    assert.deepEqual(await catalog.read((reader) => reader.vbd(1)), first);
    assert.deepEqual(await catalog.read(async (reader) => [await reader.vbds({ domain: 'web' }), await reader.vbds({ diskId: 1 }), await reader.vbds()]), [[second], [first], [first, second]]);
    await catalog.write((writer) => writer.setVbdState(1, 'revoked'));
    await catalog.write((writer) => writer.updateVbd({ ...second, state: 'attached', devicePath: '/dev/x' }));
    assert.deepEqual(await catalog.read((reader) => reader.vbds()), [{ ...first, state: 'revoked' }, { ...second, state: 'attached', devicePath: '/dev/x' }]);
    for (let time = 0; time < 2; time += 1) await catalog.write((writer) => writer.setVbdState(1, 'detached'));
    await catalog.write((writer) => writer.updateVbd({ ...second, state: 'detached' }));
    assert.deepEqual(await catalog.read(async (reader) => [await reader.vbds(), await reader.vbd(1)]), [[], null]);
    assert.equal((await catalog.write((writer) => writer.addVbd(vbd()))).generation, 3);
    await assert.rejects(catalog.write((writer) => writer.setVbdState(1, 'attached')), isInvariant);
    await assert.rejects(catalog.write((writer) => writer.addVbd(vbd({ source: { kind: 'vd', diskId: 9 } }))), isInvariant);
  });

  check('F4: what a VBD in whatever state or a worker can reach is not reclaimable, until the last of them is gone', async (catalog) => {
    await withDevice(catalog);
    await catalog.write(async (writer) => {
      await addDiskOn(writer, [run(1, 0, 10)], { expiresAt: wallMs(1) });
      await writer.addVbd(vbd());
      await writer.addVbd(vbd({ target: '/dev/xvdb', mode: 'r' }));
      await writer.addWorker(worker(1));
    });
    const next = () => catalog.read(async (reader) => (await reader.nextReclaimable('default', 512, now))?.id ?? null);
    assert.equal(await next(), null);
    await catalog.write((writer) => writer.setVbdState(1, 'revoked'));
    await catalog.write((writer) => writer.setVbdState(2, 'detached'));
    await catalog.write((writer) => writer.removeWorker(1));
    assert.equal(await next(), null);
    await catalog.write((writer) => writer.setVbdState(1, 'detached'));
    assert.equal(await next(), 1);
  });

  check('workers are kept by disk', async (catalog) => {
    await catalog.write(async (writer) => {
      await writer.addDisk(disk());
      await writer.addDisk(disk());
      assert.equal((await writer.addWorker(worker(1))).id, 1);
      await writer.addWorker(worker(2));
    });
    assert.deepEqual(await catalog.read((reader) => reader.workers(2)), [{ id: 2, ...worker(2) }]);
    assert.equal((await catalog.read((reader) => reader.workers())).length, 2);
    for (let time = 0; time < 2; time += 1) await catalog.write((writer) => writer.removeWorker(2));
    assert.deepEqual(await catalog.read((reader) => reader.workers(2)), []);
    assert.equal((await catalog.write((writer) => writer.addWorker(worker(2)))).id, 3);
    await assert.rejects(catalog.write((writer) => writer.addWorker(worker(9))), isInvariant);
  });
}

function events(check: Check): void {
  check('the last events are kept, in order, page by page', async (catalog) => {
    const event = (subject: number) => ({ time: wallMs(subject), type: 'disk.created', subject: `vd:${subject}`, cause: 'create', data: { n: subject, of: ['x'] } });
    await catalog.write(async (writer) => {
      for (let id = 1; id <= 300; id += 1) assert.equal((await writer.addEvent(event(id))).id, id);
    });
    await catalog.write((writer) => writer.addEvent(event(301)));
    const seen = await catalog.read((reader) => reader.events(0, 1000));
    assert.deepEqual(seen.map((each) => each.id), Array.from({ length: 20 }, (_, index) => 282 + index));
    assert.deepEqual(seen.at(-1), { id: 301, ...event(301) });
    assert.deepEqual((await catalog.read((reader) => reader.events(290, 2))).map((each) => each.id), [291, 292]);
    assert.deepEqual(await catalog.read((reader) => reader.events(301, 10)), []);
  });
}
