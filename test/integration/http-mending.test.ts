// The routes that mend a catalog or take one over: the same shapes and the same errors as the commands.

import assert from 'node:assert/strict';
import { existsSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { errorTable } from '../../src/base/error.ts';
import { builtXvd } from './built-xvd.ts';
import type { BuiltXvd } from './built-xvd.ts';

type Row = Record<string, unknown>;

async function post(xvd: BuiltXvd, path: string, body: unknown): Promise<Row> {
  const answer = await xvd.ask('POST', `/api/v1${path}`, { body });
  assert.equal(answer.status, 200, answer.text);
  return answer.body as Row;
}

async function refused(xvd: BuiltXvd, path: string, body: unknown, code: keyof typeof errorTable): Promise<Row> {
  const answer = await xvd.ask('POST', `/api/v1${path}`, { body });
  assert.deepEqual([answer.status, (answer.body as Row)['code']], [errorTable[code].http, code], answer.text);
  return answer.body as Row;
}

const names = (rows: unknown): unknown[] => (rows as Row[]).map((row) => row['name']);

test('backup, recover, adopt, check and unformat over HTTP', async (t) => {
  const xvd = builtXvd(t);
  await xvd.serve();
  await post(xvd, '/devices', { device: xvd.pool, extentBytes: 2 ** 20 });
  await post(xvd, '/disks', { sizeBytes: 2 ** 20, name: 'a' });
  const file = join(xvd.folder, 'backup');
  assert.deepEqual(await post(xvd, '/backup', { file }), { file, changed: true });
  assert.ok(existsSync(file));
  await refused(xvd, '/backup', { file: 'relative' }, 'VALUE_INVALID');
  await post(xvd, '/disks', { sizeBytes: 2 ** 20, name: 'b' });
  await post(xvd, '/vbds', { source: 'vd:1', target: 'xvda', domain: 'web', mode: 'w', driver: 'nbd' });
  await refused(xvd, '/recover', { file }, 'CATALOG_IN_USE');
  assert.equal((await xvd.ask('DELETE', '/api/v1/vbds/web/xvda')).status, 200);
  const back = await post(xvd, '/recover', { file });
  assert.deepEqual([names(back['disks']), back['removed'], back['changed']], [['a'], ['vd:2'], true]);
  const cause = (await xvd.json<Row[]>('events')).findLast(({ type }) => type === 'disk.created')?.['id'];
  assert.deepEqual(names((await post(xvd, '/recover', { fromDevices: true, devices: [xvd.pool] }))['disks']), ['a']);
  await refused(xvd, '/recover', { before: 10 ** 9 }, 'EVENT_NOT_FOUND');
  await refused(xvd, '/recover', { file: join(xvd.folder, 'nothing') }, 'FILE_NOT_FOUND');
  await refused(xvd, '/recover', { file, before: cause }, 'VALUE_INVALID');
  await post(xvd, '/check', { repair: true });
  assert.deepEqual(await post(xvd, '/check', {}), { problems: [] });

  const moved = `${xvd.pool}.moved`;
  renameSync(xvd.pool, moved);
  assert.equal((await post(xvd, '/devices/adopt', { device: moved, dryRun: true }))['changed'], false);
  const adopted = await post(xvd, '/devices/adopt', { device: moved });
  assert.deepEqual([(adopted['was'] as Row)['device'], adopted['device'], adopted['changed']], [xvd.pool, moved, true]);
  await refused(xvd, '/devices/adopt', { device: xvd.pool }, 'DEVICE_NOT_FOUND');
  await refused(xvd, '/devices/unformat', { device: moved }, 'DEVICE_BUSY');
  assert.equal((await xvd.ask('DELETE', '/api/v1/disks/a')).status, 200);
  const out = await post(xvd, '/devices/unformat', { device: moved });
  assert.deepEqual([out['device'], out['changed']], [moved, true]);
});

test('a database of 2004 over HTTP: told what is wrong with it, shown, taken over once', async (t) => {
  const xvd = builtXvd(t);
  await xvd.serve();
  const drive = join(xvd.folder, 'sda.img');
  writeFileSync(drive, '');
  truncateSync(drive, 16 * 2 ** 20);
  const file = join(xvd.folder, 'old.sql');
  const rows = (extent: string): string => `CREATE TABLE vdisk_extents (vdisk_extent_no INT, vdisk_id INT, part_id INT, part_extent_no INT);
INSERT INTO vdisk_extents VALUES(0,1,2048,0);
INSERT INTO vdisk_extents VALUES(${extent});
CREATE TABLE vdisk_part (part_id INT, partition VARCHAR, extent_size INT);
INSERT INTO vdisk_part VALUES(2048,'/dev/sda3',8192);
CREATE TABLE vdisks (vdisk_id INT, size INT, expires BOOLEAN, expiry_time DATETIME);
INSERT INTO vdisks VALUES(0,0,1,'2004-01-20 10:00:00');
INSERT INTO vdisks VALUES(1,8192,0,NULL);`;
  const body = { file, devices: [{ old: '/dev/sda3', new: drive }] };
  writeFileSync(file, rows('0,0,2048,0'));
  const wrong = await refused(xvd, '/import-legacy', body, 'LEGACY_DAMAGED');
  assert.ok((wrong['problems'] as Row[]).length > 0);
  writeFileSync(file, rows('0,0,2048,1'));
  assert.equal((await post(xvd, '/import-legacy', { ...body, dryRun: true }))['changed'], false);
  assert.deepEqual(await xvd.json('devices'), []);
  assert.equal((await post(xvd, '/import-legacy', body))['changed'], true);
  assert.equal((await xvd.json<Row[]>('list')).length, 1);
  await refused(xvd, '/import-legacy', body, 'CATALOG_IN_USE');
});
