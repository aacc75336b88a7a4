// What goes wrong around the catalog: folders that belong to another daemon, files that are none, devices that are not what they were.

import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { builtXvd } from './built-xvd.ts';

type Row = Record<string, unknown>;

test('a daemon and a command of two catalogs with one XVD_RUN: neither takes what is the other one’s', async (t) => {
  const one = builtXvd(t);
  const two = builtXvd(t);
  await one.format();
  await one.json('create', '1M');
  await two.format();
  await two.json('create', '1M');
  await one.serve();
  Object.assign(two.environment, { XVD_RUN: one.environment['XVD_RUN'] });
  await two.refused(6, 'DAEMON_RUNNING', 'serve');
  assert.equal((await one.ask('GET', '/healthz')).status, 200, 'its socket is still its own');
  // Disk 1 of the daemon's catalog is not disk 1 of this one.
  const refused = await two.refused(8, 'DAEMON_NOT_RUNNING', 'attach', 'vd:1', 'xvda', 'web', '--driver', 'nbd');
  assert.match(String(refused['message']), /another one is meant/);
  assert.deepEqual(await one.json('vbds'), []);
  assert.equal((await one.json('attach', 'vd:1', 'xvda', 'web', '--driver', 'nbd'))['changed'], true);
});

test('a catalog that is removed under the daemon: nothing is taken down that nobody would read; it comes back from the devices', async (t) => {
  const xvd = builtXvd(t);
  const state = xvd.environment['XVD_STATE'] ?? '';
  await xvd.json('format', xvd.pool, '--extent-size', '1M');
  await xvd.json('create', '1M', '--name', 'a');
  await xvd.serve();
  const make = (name: string) => xvd.ask('POST', '/api/v1/disks', { body: { sizeBytes: 4096, name } });
  assert.equal((await make('b')).status, 200);
  for (const name of readdirSync(state).filter((each) => each.startsWith('catalog.sqlite'))) rmSync(join(state, name));
  const refused = await make('c');
  assert.deepEqual([refused.status, (refused.body as Row)['code']], [500, 'CATALOG_DAMAGED']);
  await xvd.stopDaemon();
  await xvd.json('recover', '--from-devices', '--device', xvd.pool);
  assert.ok((await xvd.json<Row[]>('list')).some(({ name }) => name === 'a'));
});

test('a catalog that is a folder, or a link that leads nowhere, is not an empty one', async (t) => {
  const xvd = builtXvd(t);
  const state = xvd.environment['XVD_STATE'] ?? '';
  const catalog = join(state, 'catalog.sqlite');
  await xvd.format();
  await xvd.json('create', '1M');
  const away = join(xvd.folder, 'volume');
  const words = [['list'], ['create', '1M'], ['format', xvd.pool], ['check']];
  renameSync(state, away);
  mkdirSync(state);
  symlinkSync(join(xvd.folder, 'elsewhere', 'catalog.sqlite'), catalog);
  for (const each of words) await xvd.refused(2, 'VALUE_INVALID', ...each);
  // The volume is there again.
  renameSync(away, join(xvd.folder, 'elsewhere'));
  assert.equal((await xvd.json<Row[]>('list')).length, 1);
  renameSync(catalog, `${catalog}.link`);
  symlinkSync('catalog.sqlite', catalog);
  for (const each of words) await xvd.refused(2, 'VALUE_INVALID', ...each);
  renameSync(catalog, `${catalog}.circle`);
  mkdirSync(catalog);
  for (const each of words) await xvd.refused(2, 'VALUE_INVALID', ...each);
});

test('devices formatted by many commands at once are all in the pool, none twice', async (t) => {
  const xvd = builtXvd(t);
  const files = Array.from({ length: 6 }, (_, index) => join(xvd.folder, `device-${index}`));
  for (const file of files) {
    writeFileSync(file, '');
    truncateSync(file, 8 * 2 ** 20);
  }
  const answers = await Promise.all([...files, ...files].map((file) => xvd.json('format', file, '--extent-size', '1M')));
  assert.equal(answers.filter(({ changed }) => changed === true).length, files.length);
  const pool = (await xvd.json<Row[]>('devices')).map(({ device }) => String(device));
  assert.deepEqual(pool.toSorted(), files);
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});

test('a path that is too long for sockets is said to be', async (t) => {
  const xvd = builtXvd(t);
  Object.assign(xvd.environment, { XVD_RUN: join(xvd.folder, 'x'.repeat(100)) });
  await xvd.refused(2, 'VALUE_INVALID', 'serve');
});

test('a copy of a pool device, and one of another size, are refused by name', async (t) => {
  const xvd = builtXvd(t);
  await xvd.json('format', xvd.pool, '--extent-size', '1M');
  await xvd.json('create', '1M');
  const copy = join(xvd.folder, 'copy.img');
  copyFileSync(xvd.pool, copy);
  const twin = await xvd.refused(4, 'DEVICE_IDENTITY_MISMATCH', 'format', copy);
  assert.match(String(twin['message']), new RegExp(`${copy}.*${xvd.pool}`));
  assert.equal((await xvd.json('format', copy, '--force'))['changed'], true);
  assert.equal((await xvd.json<Row[]>('devices')).length, 2);
  truncateSync(xvd.pool, 310 * 2 ** 20);
  const grown = await xvd.refused(4, 'DEVICE_IDENTITY_MISMATCH', 'format', xvd.pool, '--force');
  assert.match(String(grown['message']), /314572800 bytes, and has 325058560/);
  await xvd.refused(4, 'DEVICE_IDENTITY_MISMATCH', 'create', '297M');
  truncateSync(xvd.pool, 300 * 2 ** 20);
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});
