// The contract of the port: disks and their leases, who can reach them, and what happened.

import assert from 'node:assert/strict';

import { bytes, wallMs } from '../base/units.ts';
import { addDiskOn, disk, now, run, vbd, withDevice, worker, EXTENT, hasCode, isInvariant } from './fixture.ts';
import type { Check } from './fixture.ts';

export function disks(check: Check): void {
  check('a disk is stored and changed as it is', async (catalog) => {
    const all = disk({
      name: 'a',
      labels: { owner: 'x', "it's": '"q"' },
      expiresAt: wallMs(5),
      onExpiry: 'hold',
      preparing: true,
      suspect: true,
      lostBytes: bytes(3),
      blockBytes: 4096,
    });
    const added = await catalog.write((writer) => writer.addDisk(all));
    assert.deepEqual(added, { id: 1, ...all });
    assert.deepEqual(await catalog.read((reader) => reader.disk(1)), added);
    const changed = { ...added, name: 'b', labels: {}, expiresAt: null, preparing: false, lostBytes: bytes(9) };
    await catalog.write((writer) => writer.updateDisk(changed));
    assert.deepEqual(await catalog.read(async (reader) => [await reader.disk(1), await reader.diskByName('b'), await reader.diskByName('a')]), [
      changed,
      changed,
      null,
    ]);
    assert.equal(await catalog.read((reader) => reader.disk(2)), null);
    await assert.rejects(
      catalog.write((writer) => writer.updateDisk({ ...changed, id: 7 })),
      isInvariant,
    );
  });

  check('a name is of one disk, until that gives it up in the same write', async (catalog) => {
    const first = await catalog.write((writer) => writer.addDisk(disk({ name: 'a', expiresAt: wallMs(1) })));
    await assert.rejects(
      catalog.write((writer) => writer.addDisk(disk({ name: 'a' }))),
      hasCode('NAME_TAKEN'),
    );
    const second = await catalog.write(async (writer) => {
      await writer.updateDisk({ ...first, name: null });
      return writer.addDisk(disk({ name: 'a' }));
    });
    assert.equal((await catalog.read((reader) => reader.diskByName('a')))?.id, second.id);
    await assert.rejects(
      catalog.write((writer) => writer.updateDisk({ ...first, name: 'a' })),
      hasCode('NAME_TAKEN'),
    );
  });

  check('the ID of a removed disk is not used again', async (catalog) => {
    await withDevice(catalog);
    await catalog.write((writer) => addDiskOn(writer, [run(1, 0, 1)], { name: 'a', labels: { k: 'v1' } }));
    await assert.rejects(
      catalog.write((writer) => writer.removeDisk(1)),
      isInvariant,
    );
    await catalog.write(async (writer) => {
      await writer.setRuns(1, []);
      await writer.giveUnowned(run(1, 0, 1));
      await writer.removeDisk(1);
    });
    assert.equal(await catalog.read((reader) => reader.disk(1)), null);
    assert.equal((await catalog.write((writer) => writer.addDisk(disk({ name: 'a' })))).id, 2);
    await assert.rejects(
      catalog.write((writer) => writer.removeDisk(1)),
      isInvariant,
    );
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

export function pages(check: Check): void {
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

export function reach(check: Check): void {
  check('VBDs keep their numbers, and are gone once detached', async (catalog) => {
    await catalog.write(async (writer) => void (await writer.addDisk(disk())));
    const first = await catalog.write((writer) =>
      writer.addVbd(vbd({ limit: '10M', uri: 'nbd+unix:///x', devicePath: '/dev/dm-0', persist: true, sharing: 2 })),
    );
    const second = await catalog.write((writer) => writer.addVbd(vbd({ domain: 'web', target: '/dev/xvdb', source: { kind: 'phy', path: '/dev/sdz' } })));
    assert.deepEqual([first.generation, second.generation], [1, 2]);
    assert.deepEqual(await catalog.read((reader) => reader.vbd(1)), first);
    assert.deepEqual(await catalog.read(async (reader) => [await reader.vbds({ domain: 'web' }), await reader.vbds({ diskId: 1 }), await reader.vbds()]), [
      [second],
      [first],
      [first, second],
    ]);
    await catalog.write((writer) => writer.setVbdState(1, 'revoked'));
    await catalog.write((writer) => writer.updateVbd({ ...second, state: 'attached', devicePath: '/dev/x' }));
    assert.deepEqual(await catalog.read((reader) => reader.vbds()), [
      { ...first, state: 'revoked' },
      { ...second, state: 'attached', devicePath: '/dev/x' },
    ]);
    for (let time = 0; time < 2; time += 1) await catalog.write((writer) => writer.setVbdState(1, 'detached'));
    await catalog.write((writer) => writer.updateVbd({ ...second, state: 'detached' }));
    assert.deepEqual(await catalog.read(async (reader) => [await reader.vbds(), await reader.vbd(1)]), [[], null]);
    assert.equal((await catalog.write((writer) => writer.addVbd(vbd()))).generation, 3);
    await assert.rejects(
      catalog.write((writer) => writer.setVbdState(1, 'attached')),
      isInvariant,
    );
    await assert.rejects(
      catalog.write((writer) => writer.addVbd(vbd({ source: { kind: 'vd', diskId: 9 } }))),
      isInvariant,
    );
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

  check('intents keep the order of their first coming; one of the same kind and key takes its place', async (catalog) => {
    const start = (key: string, bootId: string, problem: string | null = null) =>
      ({ kind: 'starting', key, bootId, problem, value: { hypervisor: 'qemu' } }) as const;
    const again = { kind: 'attach', key: '0 51712', bootId: 'a', problem: null, value: { vbd: { ...vbd(), generation: 1 }, identity: null } } as const;
    await catalog.write(async (writer) => {
      await writer.putIntent(start('web', 'a'));
      await writer.putIntent(again);
      await writer.putIntent(start('web', 'b', 'no such disk'));
      await writer.removeIntent('starting', '0 51712');
    });
    assert.deepEqual(await catalog.read((reader) => reader.intents()), [start('web', 'b', 'no such disk'), again]);
    for (let time = 0; time < 2; time += 1) await catalog.write((writer) => writer.removeIntent('starting', 'web'));
    assert.deepEqual(await catalog.read((reader) => reader.intents()), [again]);
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
    await assert.rejects(
      catalog.write((writer) => writer.addWorker(worker(9))),
      isInvariant,
    );
  });
}

export function events(check: Check): void {
  check('the last events are kept, in order, page by page', async (catalog) => {
    const event = (subject: number) => ({
      time: wallMs(subject),
      type: 'disk.created',
      subject: `vd:${subject}`,
      cause: 'create',
      data: { n: subject, of: ['x'] },
    });
    await catalog.write(async (writer) => {
      for (let id = 1; id <= 300; id += 1) assert.equal((await writer.addEvent(event(id))).id, id);
    });
    await catalog.write((writer) => writer.addEvent(event(301)));
    const seen = await catalog.read((reader) => reader.events(0, 1000));
    assert.deepEqual(
      seen.map((each) => each.id),
      Array.from({ length: 20 }, (_, index) => 282 + index),
    );
    assert.deepEqual(seen.at(-1), { id: 301, ...event(301) });
    assert.deepEqual(
      (await catalog.read((reader) => reader.events(290, 2))).map((each) => each.id),
      [291, 292],
    );
    assert.deepEqual(await catalog.read((reader) => reader.events(301, 10)), []);
  });
}
