// A database of 2004, taken over whole or not at all.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

import { XvdError } from '../base/error.ts';
import { MIB } from '../base/units.ts';
import { createDisk } from './create-disk.ts';
import { eachCatalog, code } from './fixture-system.ts';
import type { Rig } from './fixture-system.ts';
import { importLegacy } from './import-legacy.ts';
import { extentsOf } from './extents-of.ts';
import { listDisks } from './list-disks.ts';
import { restoreDisk } from './restore-disk.ts';

/** /dev/hda2 with extents of 8 MiB, /dev/hdb1 of 4: disk 4 lives out of order on both, 5 expires, 6 has expired. */
const dump = `BEGIN TRANSACTION;
CREATE TABLE vdisk_extents (vdisk_extent_no INT, vdisk_id INT, part_id INT, part_extent_no INT);
INSERT INTO vdisk_extents VALUES(1,4,768,0);
INSERT INTO vdisk_extents VALUES(5,0,768,1);
INSERT INTO vdisk_extents VALUES(0,4,768,2);
INSERT INTO vdisk_extents VALUES(0,5,832,0);
INSERT INTO vdisk_extents VALUES(0,6,832,1);
INSERT INTO vdisk_extents VALUES(2,4,832,2);
CREATE TABLE vdisk_part (part_id INT, partition VARCHAR, extent_size INT);
INSERT INTO vdisk_part VALUES(768,'/dev/hda2',16384);
INSERT INTO vdisk_part VALUES(832,'/dev/hdb1',8192);
CREATE TABLE vdisks (vdisk_id INT, size INT, expires BOOLEAN, expiry_time DATETIME);
INSERT INTO vdisks VALUES(0,0,1,'2004-01-20 10:00:00');
INSERT INTO vdisks VALUES(4,36000,0,NULL);
INSERT INTO vdisks VALUES(5,8192,1,'2030-01-01 00:00:00');
INSERT INTO vdisks VALUES(6,8000,1,'2004-02-01 00:00:00');
COMMIT;
`;

function write({ folder }: Rig, text: string): string {
  const file = join(folder, 'xen_vdisks.sql');
  writeFileSync(file, text);
  return file;
}

const devices = [
  { old: '/dev/hda2', new: '/dev/sda' },
  { old: '/dev/hdb1', new: '/dev/sdb' },
];

eachCatalog('F1 F2 F14: disks come with their IDs, order, sizes and leases, counted from sector 0 of the new drives', async (rig) => {
  const before = Buffer.from(rig.system.host.store('/dev/sda').readDirect(0, MIB));
  const result = await importLegacy(rig.system, { file: write(rig, dump), devices });
  assert.equal(result.changed, true);
  assert.deepEqual(
    result.devices.map((device) => [device.device, device.extentBytes, device.totalBytes, device.cleanBytes]),
    [
      ['/dev/sda', 8 * MIB, 24 * MIB, 0],
      ['/dev/sdb', 4 * MIB, 12 * MIB, 0],
    ],
  );
  const all = await listDisks(rig.system, { which: 'all' });
  assert.deepEqual(
    all.map(({ id, sizeBytes, state, expiresAt }) => [id, sizeBytes, state, expiresAt]),
    [
      [4, 20 * MIB, 'live', null],
      [5, 4 * MIB, 'live', '2030-01-01T00:00:00.000Z'],
      [6, 4 * MIB, 'expired', '2004-02-01T00:00:00.000Z'],
    ],
  );
  assert.deepEqual(await extentsOf(rig.system, 'vd:4'), [
    { device: '/dev/sda', startSector: 0, sectors: 16384 },
    { device: '/dev/sda', startSector: 32768, sectors: 16384 },
    { device: '/dev/sdb', startSector: 16384, sectors: 8192 },
  ]);
  assert.deepEqual(Buffer.from(rig.system.host.store('/dev/sda').readDirect(0, MIB)), before);
  assert.equal((await restoreDisk(rig.system, { disk: 'vd:6' })).state, 'live');
  // What was free is free, dirty, and wiped before its next owner sees it; the IDs go on.
  rig.system.host.store('/dev/sda').writeDirect(8 * MIB, Buffer.from('old secret'));
  const made = await createDisk(rig.system, { sizeBytes: 8 * MIB });
  assert.equal(made.id, 7);
  assert.deepEqual(await extentsOf(rig.system, 'vd:7'), [{ device: '/dev/sda', startSector: 16384, sectors: 16384 }]);
  assert.ok(
    rig.system.host
      .store('/dev/sda')
      .readDirect(8 * MIB, 4096)
      .every((byte) => byte === 0),
    'F12',
  );
});

eachCatalog('a SQLite 3 file gives the same as its dump, and a dry run changes nothing', async (rig) => {
  const file = join(rig.folder, 'xen_vdisks.sqlite');
  const database = new DatabaseSync(file);
  database.exec(dump);
  database.close();
  const dry = await importLegacy(rig.system, { file, devices, dryRun: true });
  assert.deepEqual([dry.changed, dry.disks.map((disk) => disk.id)], [false, [4, 5, 6]]);
  assert.deepEqual(await listDisks(rig.system, { which: 'all' }), []);
  const taken = await importLegacy(rig.system, { file, devices, order: 'number' });
  assert.deepEqual(taken.disks, dry.disks);
  assert.equal((await extentsOf(rig.system, 'vd:4'))[0]?.startSector, 32768);
  await assert.rejects(importLegacy(rig.system, { file, devices }), code('CATALOG_IN_USE'));
});

eachCatalog('a file of SQLite 2 is answered with the command that converts it; strangers are refused', async (rig) => {
  const refused = async (text: string, expected: Parameters<typeof code>): Promise<unknown> => {
    let caught: unknown;
    await assert.rejects(importLegacy(rig.system, { file: write(rig, text), devices }), (error) => (caught = error) !== null && code(...expected)(error));
    return caught;
  };
  const error = await refused('** This file contains an SQLite 2.1 database **\0\0', ['VALUE_INVALID', /SQLite 2/]);
  assert.match(error instanceof XvdError ? error.fix : '', /sqlite \S+xen_vdisks\.sql \.dump > /);
  await refused('hello', ['VALUE_INVALID', /neither/]);
  await refused(`${dump} ATTACH '${join(rig.folder, 'other.sqlite')}' AS other;`, ['VALUE_INVALID', /not authorized/]);
  await refused(dump.replace(/CREATE TABLE vdisks .*/, 'CREATE TABLE x (a);').replace(/INSERT INTO vdisks .*/g, ''), ['LEGACY_DAMAGED', /vdisks/]);
  await assert.rejects(importLegacy(rig.system, { file: join(rig.folder, 'none'), devices }), code('FILE_NOT_FOUND'));
});

eachCatalog('what is wrong is told row by row, and nothing is taken over', async (rig) => {
  const file = write(rig, dump.replace('(0,5,832,0)', '(0,5,768,0)').replace("(832,'/dev/hdb1'", "(768,'/dev/hda3'"));
  await assert.rejects(importLegacy(rig.system, { file, devices: [...devices, { old: '/dev/hdx', new: '/dev/sda' }] }), (error) => {
    code(
      'LEGACY_DAMAGED',
      /vdisk_part row 2: .*two partitions of one drive[^]*vdisk_extents row 4: extent 0 of \/dev\/hda2 belongs to disk 4[^]*\/dev\/hdx is not in the database/,
    )(error);
    return error instanceof XvdError && Array.isArray(error.details['problems']);
  });
  const whole = write(rig, dump);
  const swap = devices.map(({ old }) => ({ old, new: '/dev/sda' }));
  await assert.rejects(importLegacy(rig.system, { file: whole, devices: swap }), code('LEGACY_DAMAGED', /would both lie on \/dev\/sda/));
  await assert.rejects(importLegacy(rig.system, { file: whole, devices: devices.slice(1) }), code('LEGACY_DAMAGED', /\/dev\/hda2: no device is given/));
  await assert.rejects(
    importLegacy(rig.system, { file: whole, devices: [{ old: '/dev/hda2', new: '/dev/none' }, ...devices.slice(1)] }),
    code('LEGACY_DAMAGED', /\/dev\/none/),
  );
  rig.system.host.addDevice({ path: '/dev/small', sizeBytes: 23 * MIB });
  await assert.rejects(
    importLegacy(rig.system, { file: whole, devices: [{ old: '/dev/hda2', new: '/dev/small' }, ...devices.slice(1)] }),
    code('LEGACY_DAMAGED', /up to byte 25165824, and \/dev\/small has 24117248/),
  );
  assert.deepEqual(await listDisks(rig.system, { which: 'all' }), []);
  assert.deepEqual(await rig.system.catalog.read((reader) => reader.devices()), []);
});
