// The commands of 2004 under their old names: old lines, old arguments, and an exit status that tells failures (F21).

import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { bootSector } from '../../src/hypervisor/qemu/fixture-boot-sector.ts';
import { builtXvd } from './built-xvd.ts';

/** Of domain 0's names, one that no other test uses. */
const target = `/dev/xvdm${1 + (process.pid % 200)}`;

test('format, create, refresh, delete: old lines, sizes in MiB, seconds, 0 = never', async (t) => {
  const xvd = builtXvd(t);
  const formatted = await xvd.old('vd_format', xvd.pool, '4');
  assert.equal(formatted.status, 0, formatted.err);
  assert.equal(formatted.out, `Formatting for virtual disks\nDevice: ${xvd.pool}\nExtent size: 4MB\n`);
  assert.equal((await xvd.old('vd_format.py', xvd.pool, '4')).status, 0, 'a device that is in the pool is left as it is');
  const made = await xvd.old('vd_create.py', '10', '3600');
  assert.deepEqual(
    [made.status, made.out],
    [0, 'Creating a virtual disk\nSize: 10\nExpiry time (seconds from now): 3600\nVirtual disk allocated, with ID: 1\n'],
  );
  const [disk] = await xvd.json<{ sizeBytes: number; expiresAt: string; createdAt: string }[]>('list');
  assert.equal(disk?.sizeBytes, 10 * 2 ** 20);
  assert.equal(Date.parse(disk?.expiresAt ?? '') - Date.parse(disk?.createdAt ?? ''), 3_600_000);
  const refreshed = await xvd.old('vd_refresh', '1');
  assert.deepEqual(
    [refreshed.status, refreshed.out],
    [0, 'No expiry time specified - using default\nRefreshing a virtual disk\nId: 1\nExpiry time (seconds from now): 0\n'],
    'F17',
  );
  assert.equal((await xvd.json('show', '1'))['expiresAt'], null);
  assert.equal((await xvd.old('vd_refresh', '1', '0')).status, 0);
  const gone = await xvd.old('vd_delete', '1');
  assert.deepEqual([gone.status, gone.out], [0, 'Deleting a virtual disk with ID: 1\n']);
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});

test('F21: whatever fails has exit status 1, in words and without a stack trace', async (t) => {
  const xvd = builtXvd(t);
  const missing = await xvd.old('vd_create', '10');
  assert.deepEqual([missing.status, missing.err], [1, `ERROR: Could not locate the database file at ${xvd.environment['XVD_STATE']}/catalog.sqlite\n`]);
  assert.equal(existsSync(xvd.environment['XVD_STATE'] ?? ''), false, 'only format makes one');
  const none = await xvd.old('vd_format', '/dev/no-such-device');
  assert.equal(none.status, 1);
  assert.match(none.out, /^No extent size specified - using default size\n\(for really small devices, the default size of 64MB might not work\)\n/);
  assert.match(none.err, /^An error occurred formatting the device\n/);
  await xvd.format();
  await xvd.json('create', '1M');
  await xvd.json('delete', '1');
  const full = await xvd.old('vd_create', '99999');
  assert.equal(full.status, 1);
  assert.match(full.err, /^An error occurred creating the the disk\n/);
  const failing = [
    ['vd_refresh', '1'],
    ['vd_refresh', '9'],
    ['vd_refresh', '0'],
    ['vd_delete', '9'],
    ['vd_delete', '0'],
    ['vd_create', '0'],
    ['vd_create', '-5'],
    ['vd_create', '10', '-1'],
    ['vd_create', 'ten'],
    ['vd_format', xvd.pool, '0'],
    ['add_vbd_to_dom', 'vd:9', 'xvda', '0'],
    ['add_vbd_to_dom', 'vd:1', 'xvda', '0', 'x'],
    ['remove_vbd_from_dom', 'xvda', '0'],
    ['createlinuxdom', join(xvd.folder, 'nothing.json')],
  ];
  for (const [name = '', ...words] of failing) {
    const { status, out, err } = await xvd.old(name, ...words);
    assert.equal(status, 1, `${name} ${words.join(' ')}: ${out}${err}`);
    assert.ok(err !== '', name);
    assert.doesNotMatch(out + err, /^\s+at .+:\d+/m);
  }
  assert.equal((await xvd.json<unknown[]>('list', '--all')).length, 1);
});

test('wrong arguments print the usage and end with 1', async (t) => {
  const xvd = builtXvd(t);
  const names: [string, string[]][] = [
    ['vd_format', []],
    ['vd_create', []],
    ['vd_refresh', []],
    ['vd_delete', []],
    ['add_vbd_to_dom', ['vd:1']],
    ['remove_vbd_from_dom', ['xvda']],
    ['list_vbds', ['x']],
    ['createlinuxdom', []],
    ['vd_create', ['1', '2', '3']],
  ];
  for (const [name, words] of names) {
    for (const command of [name, `${name}.py`]) {
      const { status, out, err } = await xvd.old(command, ...words);
      assert.deepEqual([status, out], [1, ''], command);
      assert.match(err, new RegExp(`^usage: ${name} `), command);
    }
  }
});

test('attach to domain 0, list and detach in the old words; unsafe sharing is refused and said in both old lines', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  await xvd.json('create', '8M');
  await xvd.serve();
  assert.equal((await xvd.old('list_vbds')).out, '[]\n');
  const added = await xvd.old('add_vbd_to_dom', 'vd:1', target, '0', 'rw');
  assert.deepEqual([added.status, added.out], [0, `Added vd:1 to domain 0 as device ${target}\n`], added.err);
  const [vbd] = await xvd.json<{ vdev: number }[]>('vbds');
  const listed = await xvd.old('list_vbds.py');
  assert.deepEqual([listed.status, listed.out], [0, `[{'dom': 0, 'vbd': ${vbd?.vdev}, 'writeable': 1}]\n`]);
  const refused = await xvd.old('add_vbd_to_dom.py', 'vd:1', '/dev/xvdn9', '0');
  assert.deepEqual([refused.status, refused.out], [1, 'That mapping is too unsafe for the current VBD expertise level\n']);
  assert.match(refused.err, /^Warning: one or more hard disk extents writeable by one domain are also readable by another\.$/m);
  assert.match(refused.err, /^ERROR: This kind of disk sharing is not allowed at the current safety level \(0\)\.$/m);
  const failed = await xvd.old('remove_vbd_from_dom', '/dev/xvdn9', '0');
  assert.deepEqual([failed.status, failed.out], [1, 'Failed\n']);
  const removed = await xvd.old('remove_vbd_from_dom.py', target, '0');
  assert.deepEqual([removed.status, removed.out], [0, `Removed ${target} from domain 0\n`], removed.err);
  assert.equal((await xvd.old('list_vbds')).out, '[]\n');
});

test('createlinuxdom names what is wrong in the description', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  const file = join(xvd.folder, 'web.json');
  writeFileSync(file, JSON.stringify({ name: 'web', kernel: '/k', memory: '64M', disks: [], colour: 'blue' }));
  const { status, err } = await xvd.old('createlinuxdom', file);
  assert.equal(status, 1);
  assert.match(err, /colour/);
});

test('F15: the expert level of the environment is the one that counts; at it, sharing is warned of and done', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  await xvd.json('create', '8M');
  await xvd.serve();
  await xvd.json('attach', 'vd:1', 'xvda', 'app', 'w', '--driver', 'nbd');
  const environment = xvd.environment as Record<string, string>;
  environment['XVD_EXPERT'] = '1';
  const writer = await xvd.old('add_vbd_to_dom', 'vd:1', target, '0', 'rw');
  assert.deepEqual([writer.status, writer.out], [1, 'That mapping is too unsafe for the current VBD expertise level\n']);
  assert.match(writer.err, /^Warning: one or more hard disk extents are writeable by two or more domains simultaneously\.$/m);
  assert.match(writer.err, /current safety level \(1\)\.$/m);
  const reader = await xvd.old('add_vbd_to_dom', 'vd:1', target, '0');
  assert.deepEqual([reader.status, reader.out], [0, `Added vd:1 to domain 0 as device ${target}\n`], reader.err);
  assert.match(reader.err, /^Warning: one or more hard disk extents writeable by one domain are also readable by another\.$/m);
  const [app, here] = await xvd.json<{ vdev: number }[]>('vbds');
  assert.equal((await xvd.old('list_vbds')).out, `[{'dom': 'app', 'vbd': ${app?.vdev}, 'writeable': 1}, {'dom': 0, 'vbd': ${here?.vdev}, 'writeable': 0}]\n`);
  environment['XVD_EXPERT'] = '3';
  assert.equal((await xvd.old('add_vbd_to_dom', 'vd:1', 'xvdb', '0')).status, 1, 'no such level');
  delete environment['XVD_EXPERT'];
  assert.equal((await xvd.old('remove_vbd_from_dom', target, '0')).status, 0);
});

test('without the daemon attach and domain start fail with 1 and say what to start; the catalog can still be asked', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  await xvd.json('create', '8M');
  const description = join(xvd.folder, 'web.json');
  writeFileSync(description, JSON.stringify({ name: 'web', firmware: 'bios', memory: '64M', disks: [] }));
  for (const words of [
    ['add_vbd_to_dom', 'vd:1', target, '0'],
    ['createlinuxdom', description],
  ]) {
    const { status, err } = await xvd.old(words[0] ?? '', ...words.slice(1));
    assert.equal(status, 1);
    assert.match(err, /xvd serve/);
  }
  const removed = await xvd.old('remove_vbd_from_dom', target, '0');
  assert.deepEqual([removed.status, removed.out], [1, 'Failed\n']);
  assert.equal((await xvd.old('list_vbds')).out, '[]\n');
});

test('createlinuxdom starts a guest from its description with the old lines, and refuses unsafe sharing in the old words', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  await xvd.serve();
  for (const size of ['1M', '2M']) await xvd.json('create', size);
  writeFileSync(join(xvd.folder, 'boot.raw'), bootSector('here'));
  await xvd.json('import', 'boot.raw', '1');
  const disks = [
    { source: 'vd:1', target: '/dev/xvda', mode: 'w' },
    { source: 'vd:2', target: '/dev/xvdb', mode: 'r' },
  ];
  const file = join(xvd.folder, 'web.json');
  const write = (over: object): void => writeFileSync(file, JSON.stringify({ name: 'web', firmware: 'bios', memory: '64M', disks, ...over }));
  write({ disks: [...disks, { source: 'vd:1', target: '/dev/xvdc', mode: 'r' }] });
  const refused = await xvd.old('createlinuxdom', file);
  assert.deepEqual([refused.status, refused.out], [1, 'That mapping is too unsafe for the current VBD expertise level\n']);
  assert.match(refused.err, /writeable by one domain are also readable by another/);
  assert.equal((await xvd.old('list_vbds')).out, '[]\n', 'a start is all or nothing');
  write({});
  const started = await xvd.old('createlinuxdom.py', file);
  assert.deepEqual(
    [started.status, started.out],
    [0, 'Added vd:1 to domain web as device /dev/xvda\nAdded vd:2 to domain web as device /dev/xvdb\n'],
    started.err,
  );
  assert.equal((await xvd.old('createlinuxdom', file)).status, 1, 'it runs already');
  const [domain] = (await xvd.json<{ name: string; id: string }[]>('domain', 'list')).filter(({ name }) => name === 'web');
  const added = await xvd.old('remove_vbd_from_dom', '/dev/xvdb', domain?.id ?? '', '--force');
  assert.deepEqual([added.status, added.out], [0, `Removed /dev/xvdb from domain ${domain?.id}\n`], 'a domain may be given by its number');
  await xvd.json('domain', 'stop', 'web', '--force');
  assert.equal((await xvd.old('list_vbds')).out, '[]\n');
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});
