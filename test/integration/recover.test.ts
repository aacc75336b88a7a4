// The built command, when the catalog is rolled back, lost or damaged, a device was moved, or comes from 2004.

import assert from 'node:assert/strict';
import { copyFileSync, existsSync, readdirSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { builtXvd } from './built-xvd.ts';

type Row = Record<string, unknown>;
const names = (rows: readonly Row[]): unknown[] => rows.map((row) => row['name']);

test('a rolled-back catalog is refused until the labels have brought it forward; a damaged one is put aside', async (t) => {
  const xvd = builtXvd(t);
  const state = xvd.environment['XVD_STATE'] ?? '';
  const catalog = join(state, 'catalog.sqlite');
  const folder = dirname(xvd.pool);
  await xvd.json('format', xvd.pool, '--extent-size', '1M');
  await xvd.json('create', '4M', '--name', 'a');
  const old = join(folder, 'old');
  await xvd.json('backup', old);
  await xvd.json('create', '4M', '--name', 'b');
  const backup = join(folder, 'backup');
  await xvd.json('backup', backup);
  // Going back writes the labels at once.
  const back = await xvd.json('recover', backup);
  assert.deepEqual([back['changed'], back['suspect'], names(back['disks'] as Row[])], [true, false, ['a', 'b']]);

  for (const name of readdirSync(state).filter((each) => each.startsWith('catalog.sqlite'))) rmSync(join(state, name));
  copyFileSync(old, catalog);
  await xvd.refused(9, 'CATALOG_STALE', 'create', '4M');
  assert.deepEqual(names(await xvd.json<Row[]>('list')), ['a'], 'it can be read');
  const forward = await xvd.json('recover', '--from-devices');
  assert.equal(forward['suspect'], true);
  assert.deepEqual(names(await xvd.json<Row[]>('list')), ['a', 'b']);
  assert.ok(Number((await xvd.json('create', '4M'))['id']) > 2, 'IDs never fall');

  for (const name of readdirSync(state).filter((each) => /-(wal|shm)$/.test(each))) rmSync(join(state, name));
  writeFileSync(catalog, 'no catalog at all');
  await xvd.refused(9, 'CATALOG_DAMAGED', 'list');
  await xvd.refused(9, 'CATALOG_DAMAGED', 'recover', '--from-devices', '--device', xvd.pool);
  const lost = await xvd.json('recover', '--from-devices', '--device', xvd.pool, '--force');
  assert.equal(lost['suspect'], true);
  assert.ok(existsSync(`${catalog}.damaged-1`));
  assert.deepEqual(names(await xvd.json<Row[]>('list')).slice(0, 2), ['a', 'b']);
  await xvd.json('check', '--repair');
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});

test('a pool file that was moved is adopted', async (t) => {
  const xvd = builtXvd(t);
  await xvd.json('format', xvd.pool, '--extent-size', '1M');
  await xvd.json('create', '4M');
  const moved = `${xvd.pool}.moved`;
  renameSync(xvd.pool, moved);
  const shown = await xvd.json('adopt', moved, '--dry-run');
  assert.deepEqual([shown['changed'], (shown['was'] as Row)['device'], (shown['is'] as Row)['device']], [false, xvd.pool, moved]);
  assert.equal((await xvd.json('adopt', moved))['changed'], true);
  assert.equal((await xvd.json<Row[]>('devices'))[0]?.['device'], moved);
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});

test('a database of 2004 comes whole, or its wrong rows are told', async (t) => {
  const xvd = builtXvd(t);
  const drive = join(dirname(xvd.pool), 'sda.img');
  writeFileSync(drive, '');
  truncateSync(drive, 16 * 2 ** 20);
  const dump = join(dirname(xvd.pool), 'xen_vdisks.sql');
  const rows = [
    'CREATE TABLE vdisk_extents (vdisk_extent_no INT, vdisk_id INT, part_id INT, part_extent_no INT);',
    ...['3,1,2048,0', '1,0,2048,1', '2,1,2048,2', '0,0,2048,3'].map((row) => `INSERT INTO vdisk_extents VALUES(${row});`),
    "CREATE TABLE vdisk_part (part_id INT, partition VARCHAR, extent_size INT);\nINSERT INTO vdisk_part VALUES(2048,'/dev/sda3',8192);",
    "CREATE TABLE vdisks (vdisk_id INT, size INT, expires BOOLEAN, expiry_time DATETIME);\nINSERT INTO vdisks VALUES(0,0,1,'2004-01-20 10:00:00');\nINSERT INTO vdisks VALUES(1,10000,0,NULL);",
  ];
  writeFileSync(dump, rows.join('\n').replace('1,0,2048,1', '1,0,2048,2'));
  const refused = await xvd.refused(9, 'LEGACY_DAMAGED', 'import-legacy', dump, '--device', `/dev/sda3=${drive}`);
  assert.ok(Array.isArray(refused['problems']));
  writeFileSync(dump, rows.join('\n'));
  const taken = await xvd.json('import-legacy', dump, '--device', `/dev/sda3=${drive}`);
  assert.equal(taken['changed'], true);
  assert.deepEqual(await xvd.json('extents', 'vd:1'), [
    { device: drive, startSector: 0, sectors: 8192 },
    { device: drive, startSector: 16384, sectors: 8192 },
  ]);
  const devices = await xvd.json<Row[]>('map');
  assert.equal(devices[0]?.['extents'], 4);
});
