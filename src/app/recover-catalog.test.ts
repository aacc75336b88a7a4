// Going back: what comes back, what can't, and what never falls.

import assert from 'node:assert/strict';
import { join } from 'node:path';

import { MIB } from '../base/units.ts';
import { backupCatalog } from './backup-catalog.ts';
import { createDisk } from './create-disk.ts';
import { deleteDisk } from './delete-disk.ts';
import { eachCatalog, code, DISK_BYTES } from './fixture-system.ts';
import type { Rig } from './fixture-system.ts';
import { formatDevice, unformatDevice } from './format-device.ts';
import { listDevices } from './list-devices.ts';
import { listDisks } from './list-disks.ts';
import { events } from './events.ts';
import { recoverCatalog } from './recover-catalog.ts';
import { refuseStale } from './read-labels.ts';
import { refreshDisk } from './refresh-disk.ts';
import { showDisk } from './show-disk.ts';
import type { CatalogSystem } from './system.ts';
import { writeLabels } from './write-labels.ts';

const format = (rig: Rig, device = '/dev/sda') => formatDevice(rig.system, { device, extentBytes: MIB, wipe: true });
const create = (system: CatalogSystem, name: string, sizeBytes = DISK_BYTES) => createDisk(system, { sizeBytes, name });
const states = async (system: CatalogSystem) => (await listDisks(system, { which: 'all' })).map(({ id, name, state }) => `${id} ${name} ${state}`);

const just = (only: string) => ({ only });

async function eventOf(system: CatalogSystem, type: string): Promise<number> {
  const found = (await events(system)).findLast((event) => event.type === type);
  assert.ok(found, `an event ${type}`);
  return found.id;
}

eachCatalog('before an event: leases, names and deleted disks are as they were; newer disks are gone, their IDs are not used again', async (rig) => {
  const { system } = rig;
  await format(rig);
  await create(system, 'a');
  await create(system, 'b');
  await deleteDisk(system, { disk: 'a' });
  await create(system, 'c');
  await refreshDisk(system, { disk: 'b', expiresInMs: 60_000 });
  const result = await recoverCatalog(system, { before: await eventOf(system, 'disk.deleted') });
  assert.deepEqual([result.removed, result.reclaimed, result.suspect], [['vd:3'], [], false]);
  assert.deepEqual(await states(system), ['1 a live', '2 b live']);
  assert.equal((await showDisk(system, 'b')).expiresAt, null);
  assert.equal((await listDevices(system))[0]?.cleanBytes, 0, 'every run is dirty');
  assert.equal((await create(system, 'd')).id, 4);
});

eachCatalog('a disk whose extents were given away since comes back reclaimed', async (rig) => {
  const { system } = rig;
  await format(rig);
  await create(system, 'old', 40 * MIB);
  await deleteDisk(system, { disk: 'old' });
  const deleted = await eventOf(system, 'disk.deleted');
  await create(system, 'new', 40 * MIB);
  await deleteDisk(system, { disk: 'new' });
  const result = await recoverCatalog(system, { before: deleted });
  assert.deepEqual([result.reclaimed, result.removed], [['vd:1'], ['vd:2']]);
  const old = await showDisk(system, 'old');
  assert.deepEqual([old.state, old.lostBytes > 0, old.recoverable], ['reclaimed', true, false]);
  await assert.rejects(recoverCatalog(system, { before: 999 }), code('EVENT_NOT_FOUND'));
});

eachCatalog('one disk comes back while another is attached; all do not', async (rig) => {
  const { system } = rig;
  await format(rig);
  await create(system, 'busy');
  await create(system, 'gone');
  await deleteDisk(system, { disk: 'gone' });
  const deleted = await eventOf(system, 'disk.deleted');
  await create(system, 'more');
  const worker = await system.catalog.write((writer) => writer.addWorker({ kind: 'export', diskId: 1, bootId: 'boot-1', pid: 1, startTicks: 1, pipe: 'p' }));
  const alive = await system.host.holdAlive('p');
  await assert.rejects(recoverCatalog(system, { before: deleted }), code('CATALOG_IN_USE', /vd:1/));
  await assert.rejects(recoverCatalog(system, { before: deleted, ...just('busy') }), code('DISK_BUSY'));
  const result = await recoverCatalog(system, { before: deleted, ...just('gone') });
  assert.deepEqual(
    result.disks.map(({ id, state }) => [id, state]),
    [[2, 'live']],
  );
  assert.deepEqual(await states(system), ['1 busy live', '2 gone live', '3 more live']);
  await assert.rejects(recoverCatalog(system, { before: 2, ...just('vd:3') }), code('DISK_NOT_FOUND', /was not there then/));
  await alive[Symbol.asyncDispose]();
  await system.catalog.write((writer) => writer.removeWorker(worker.id));
});

eachCatalog('from a backup: what others have had since is lost, a name that is taken stays taken', async (rig) => {
  const { system } = rig;
  await format(rig);
  await create(system, 'a', 30 * MIB);
  await create(system, 'b', 20 * MIB);
  const file = join(rig.folder, 'backup.sqlite');
  await backupCatalog(system, { file });
  for (const disk of ['a', 'b']) await deleteDisk(system, { disk });
  await create(system, 'a', 40 * MIB);
  const one = await recoverCatalog(system, { file, ...just('vd:1') });
  assert.deepEqual([one.reclaimed, one.disks[0]?.name, one.disks[0]?.state], [['vd:1'], null, 'reclaimed']);
  assert.match(one.warnings.join(), /'a' is taken by vd:3/);
  const all = await recoverCatalog(system, { file });
  assert.deepEqual([all.removed, all.reclaimed, all.suspect], [['vd:3'], ['vd:1'], false]);
  assert.deepEqual(await states(system), ['1 a reclaimed', '2 b live']);
  assert.equal((await create(system, 'c', 8 * MIB)).id, 4);
  await assert.rejects(recoverCatalog(system, { file: join(rig.folder, 'none') }), code('FILE_NOT_FOUND'));
});

eachCatalog('a device that was unformatted since is not taken back: what lay on it is lost', async (rig) => {
  const { system } = rig;
  await format(rig);
  await create(system, 'a');
  const file = join(rig.folder, 'backup.sqlite');
  await backupCatalog(system, { file });
  await deleteDisk(system, { disk: 'a' });
  rig.pass(1);
  await unformatDevice(system, { device: '/dev/sda' });
  const result = await recoverCatalog(system, { file });
  assert.deepEqual([result.reclaimed, await listDevices(system)], [['vd:1'], []]);
});

eachCatalog(
  'a backup into an empty state folder brings its devices, and every disk is suspect',
  async (rig) => {
    const { system } = rig;
    await format(rig);
    await create(system, 'a');
    const file = join(rig.folder, 'backup.sqlite');
    await backupCatalog(system, { file });
    const id = await system.catalog.read((reader) => reader.catalogId());
    await create(system, 'later');
    await writeLabels(system);
    const fresh = await rig.another();
    await assert.rejects(recoverCatalog(fresh, { file, presentLost: true }), code('CATALOG_DAMAGED', /not known/));
    const result = await recoverCatalog(fresh, { file, presentLost: true, force: true });
    assert.deepEqual([result.suspect, result.disks.map(({ suspect }) => suspect)], [true, [true]]);
    assert.equal(await fresh.catalog.read((reader) => reader.catalogId()), id);
    await refuseStale(fresh);
    assert.ok((await create(fresh, 'b')).id > 2, 'labels keep the high-water mark');
  },
  ['CATALOG_STALE'],
);

eachCatalog(
  'a lost catalog is rebuilt from the devices alone',
  async (rig) => {
    const { system } = rig;
    for (const device of ['/dev/sda', '/dev/sdb']) await format(rig, device);
    await create(system, 'a', 50 * MIB);
    await create(system, 'b', 30 * MIB);
    await writeLabels(system);
    const then = await listDisks(system, { which: 'all' });
    const runs = await system.catalog.read((reader) => reader.ownedRuns());
    await create(system, 'unseen', MIB);
    const fresh = await rig.another();
    const result = await recoverCatalog(fresh, { fromDevices: true, devices: ['/dev/sdb', '/dev/none'] });
    assert.deepEqual([result.suspect, result.reclaimed], [true, []]);
    assert.deepEqual(
      await listDisks(fresh, { which: 'all' }),
      then.map((disk) => ({ ...disk, suspect: true })),
    );
    assert.deepEqual(
      await fresh.catalog.read((reader) => reader.ownedRuns()),
      runs.map((run) => ({ ...run, clean: false })),
    );
    assert.equal((await listDevices(fresh)).length, 2);
    assert.ok((await create(fresh, 'c', MIB)).id > 3, 'an ID that no label has seen is not used again either');
    await refuseStale(fresh);
  },
  ['CATALOG_STALE'],
);

eachCatalog(
  'a rolled-back catalog goes forward again by what the labels know',
  async (rig) => {
    const { system } = rig;
    await format(rig);
    const file = join(rig.folder, 'backup.sqlite');
    await backupCatalog(system, { file });
    await create(system, 'a');
    await writeLabels(system);
    const back = await rig.another();
    // The state folder as it was when the backup was made.
    await recoverCatalog({ ...back, host: { ...back.host, readBytes: async (_, { lengthBytes }) => new Uint8Array(lengthBytes) } }, { file });
    await back.catalog.write(async (writer) => writer.setCatalogId(await system.catalog.read((reader) => reader.catalogId())));
    await system.catalog.write((writer) => writer.raiseNumbers({ commit: 5000 }));
    await writeLabels(system);
    await assert.rejects(refuseStale(back), code('CATALOG_STALE'));
    await recoverCatalog(back, { fromDevices: true });
    assert.deepEqual(await states(back), ['1 a live']);
    await refuseStale(back);
    await assert.rejects(recoverCatalog(await rig.another(), { fromDevices: true, devices: ['/dev/sdb'] }), code('DEVICE_NOT_FOUND'));
  },
  ['CATALOG_STALE'],
);
