// The built command against the contract, line by line: shapes of JSON, exit statuses, errors, values.

import assert from 'node:assert/strict';
import { existsSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { builtXvd, errorIn, hasKeys } from './built-xvd.ts';

const deviceKeys = ['device', 'pool', 'extentBytes', 'totalBytes', 'usedBytes', 'freeBytes', 'reservedBytes', 'badBytes', 'cleanBytes', 'identity'];
const diskKeys = [
  'id',
  'uname',
  'name',
  'pool',
  'sizeBytes',
  'state',
  'createdAt',
  'expiresAt',
  'recoverable',
  'lostBytes',
  'labels',
  'suspect',
  'blockBytes',
  'vbds',
];
const vbdKeys = ['domain', 'target', 'vdev', 'source', 'mode', 'generation', 'driver', 'state', 'sizeBytes', 'devicePath', 'uri', 'sharing'];
const instant = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
type Row = Record<string, unknown>;
const rowNumber = (row: Row, key: string): number => {
  assert.equal(typeof row[key], 'number', `${key} of ${JSON.stringify(row)}`);
  return row[key] as number;
};

test('without a catalog lists are empty, create is out of space, and no file is made', async (t) => {
  const xvd = builtXvd(t);
  for (const words of [['list'], ['list', '--all'], ['devices'], ['vbds'], ['events']]) assert.deepEqual(await xvd.json(...words), [], words.join(' '));
  assert.deepEqual(await xvd.json('check'), { problems: [] });
  const error = await xvd.refused(5, 'POOL_FULL', 'create', '64M');
  assert.match(String(error['fix']), /format a device first/i);
  await xvd.refused(3, 'DISK_NOT_FOUND', 'show', '1');
  assert.equal(existsSync(xvd.environment['XVD_STATE'] ?? ''), false);
});

test('format and devices: the shape, the sum, and changed: false for a device that is there already', async (t) => {
  const xvd = builtXvd(t);
  const first = await xvd.json('format', xvd.pool);
  hasKeys(first, [...deviceKeys, 'changed']);
  assert.equal(first['changed'], true);
  assert.equal(first['extentBytes'], 64 * 2 ** 20);
  assert.equal(typeof first['identity'], 'object');
  const again = await xvd.json('format', xvd.pool, '--extent-size', '1M');
  assert.equal(again['changed'], false);
  assert.equal(again['extentBytes'], 64 * 2 ** 20);
  await xvd.json('create', '70M');
  const devices = await xvd.json<Row[]>('devices');
  assert.equal(devices.length, 1);
  const device = devices[0] ?? {};
  hasKeys(device, deviceKeys);
  assert.equal(
    rowNumber(device, 'usedBytes') + rowNumber(device, 'freeBytes') + rowNumber(device, 'reservedBytes') + rowNumber(device, 'badBytes'),
    device['totalBytes'],
  );
  assert.equal(device['usedBytes'], 128 * 2 ** 20);
});

test('a disk from create to restore: the shape in every command, and what changed', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  const made = await xvd.json('create', '10MB', '--name', 'web', '--expires', '2h', '--label', 'owner=ann', '--label', 'tier=1');
  hasKeys(made, [...diskKeys, 'changed']);
  const { createdAt, expiresAt, ...plain } = made;
  assert.match(String(createdAt), instant);
  assert.equal(Date.parse(String(expiresAt)) - Date.parse(String(createdAt)), 7_200_000);
  for (const [key, value] of Object.entries({
    id: 1,
    uname: 'vd:1',
    name: 'web',
    pool: 'default',
    sizeBytes: 10_002_432,
    state: 'live',
    recoverable: true,
    lostBytes: 0,
    suspect: false,
    blockBytes: 512,
    changed: true,
  }))
    assert.equal(plain[key], value, key);
  assert.deepEqual([plain['labels'], plain['vbds']], [{ owner: 'ann', tier: '1' }, []]);
  for (const name of ['1', 'vd:1', 'web']) hasKeys(await xvd.json('show', name), diskKeys);
  const refreshed = await xvd.json('refresh', 'web');
  assert.deepEqual([refreshed['changed'], refreshed['expiresAt']], [true, null]);
  assert.equal((await xvd.json('refresh', 'web'))['changed'], false);
  const gone = await xvd.json('delete', '1');
  assert.deepEqual([gone['changed'], gone['state'], gone['recoverable'], gone['lostBytes']], [true, 'expired', true, 0]);
  assert.match(String(gone['expiresAt']), instant);
  assert.equal((await xvd.json('delete', '1'))['changed'], false);
  assert.match(String((await xvd.refused(6, 'DISK_EXPIRED', 'refresh', '1'))['fix']), /restore/);
  const back = await xvd.json('restore', 'vd:1', '--expires', 'never');
  hasKeys(back, [...diskKeys, 'changed']);
  assert.deepEqual([back['changed'], back['state'], back['expiresAt']], [true, 'live', null]);
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});

test('list: living ones, --expired, --all, --label, --limit and --after', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  for (const words of [['--label', 'a=1'], ['--label', 'a=2'], []]) await xvd.json('create', '1M', ...words);
  await xvd.json('delete', '2');
  const ids = async (...words: readonly string[]): Promise<unknown[]> => (await xvd.json<Row[]>('list', ...words)).map((row) => row['id']);
  assert.deepEqual(await ids(), [1, 3]);
  assert.deepEqual(await ids('--expired'), [2]);
  assert.deepEqual(await ids('--all'), [1, 2, 3]);
  assert.deepEqual(await ids('--all', '--label', 'a=2'), [2]);
  assert.deepEqual(await ids('--all', '--limit', '1', '--after', '1'), [2]);
  for (const row of await xvd.json<Row[]>('list', '--all')) hasKeys(row, diskKeys);
  await xvd.refused(2, 'USAGE', 'list', '--all', '--expired');
});

test('extents: runs on the file, in order, neighbours joined, the last one cut to the size of the disk (F1, F14)', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  await xvd.json('create', '100M', '--name', 'web');
  assert.deepEqual(await xvd.json<Row[]>('extents', 'vd:web'), [{ device: xvd.pool, startSector: 2048, sectors: 204_800 }]);
  assert.deepEqual(await xvd.json<Row[]>('extents', `phy:${xvd.pool}`), [{ device: xvd.pool, startSector: 0, sectors: 614_400 }]);
  await xvd.refused(3, 'DISK_NOT_FOUND', 'extents', 'vd:nobody');
  await xvd.refused(3, 'DEVICE_NOT_FOUND', 'extents', 'phy:/dev/no-such-device');
  await xvd.refused(2, 'VALUE_INVALID', 'extents', 'nbd:1');
});

test('a reclaimed disk says how much is lost, and cannot be restored', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  await xvd.json('create', '256M');
  await xvd.json('delete', '1');
  await xvd.json('create', '65M');
  const shown = await xvd.json('show', '1');
  assert.deepEqual([shown['state'], shown['recoverable'], shown['lostBytes']], ['reclaimed', false, 128 * 2 ** 20]);
  await xvd.refused(6, 'DISK_RECLAIMED', 'restore', '1');
  await xvd.refused(5, 'POOL_FULL', 'create', '1G');
  assert.equal((await xvd.json<Row[]>('list', '--all')).length, 2, 'what failed made no disk');
});

test('wrong words end with 2, and say what would be right', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  await xvd.json('create', '1M');
  const usage = [
    ['frobnicate'],
    ['create'],
    ['create', '1M', '2M'],
    ['create', '1M', '--colour'],
    ['list', '--limit'],
    ['domain'],
    ['domain', 'dance'],
    ['attach', 'vd:1', 'xvda', 'd', 'x'],
    ['attach', 'vd:1', 'xvda', 'd', '--expert', '3'],
    ['create', '1M', '--on-expiry', 'burn'],
    ['completion', 'csh'],
    ['create', '1M', '--name', 'a', '--name', 'b'],
    ['list', '--json=yes'],
  ];
  for (const words of usage) await xvd.refused(2, 'USAGE', ...words);
  assert.match(String((await xvd.refused(2, 'USAGE', 'lst'))['fix']), /'list'/);
  const values = [
    ['create', 'big'],
    ['create', '0M'],
    ['create', '-1M'],
    ['create', '1M', '--name', '1a'],
    ['create', '1M', '--name', 'a:b'],
    ['create', '1M', '--label', 'x'],
    ['list', '--limit', '-1'],
    ['format', xvd.pool, '--extent-size', '64'],
    ['show', 'a/b'],
  ];
  for (const words of values) {
    const ran = await xvd.run(...words, '--json');
    assert.equal(ran.status, 2, `${words.join(' ')}: ${ran.out}${ran.err}`);
    hasKeys(JSON.parse(ran.out), ['error']);
  }
  assert.equal((await xvd.json<Row[]>('list', '--all')).length, 1);
});

test('a size needs a unit; an expiry that is 0, negative or past is refused with the hint `never`', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  assert.match(String((await xvd.refused(2, 'VALUE_INVALID', 'create', '10'))['fix']), /10M/);
  for (const time of ['0', '0s', '-5', '-5s', '2001-01-01T00:00:00Z', '2001-01-01']) {
    assert.match(String((await xvd.refused(2, 'VALUE_INVALID', 'create', '1M', '--expires', time))['fix']), /`never`/, time);
  }
  const bare = await xvd.refused(2, 'VALUE_INVALID', 'create', '1M', '--expires', '60');
  assert.match(String(bare['fix']), /60s/);
  const sizes: [string, number][] = [
    ['64K', 65_536],
    ['64KiB', 65_536],
    ['8kB', 8192],
    ['1.5M', 1_572_864],
    ['1MB', 1_003_520],
    ['1MiB', 1_048_576],
    ['1B', 4096],
  ];
  for (const [size, sizeBytes] of sizes) assert.equal((await xvd.json('create', size, '--dry-run'))['sizeBytes'], sizeBytes, size);
  assert.deepEqual(await xvd.json('list', '--all'), [], 'a dry run makes nothing');
});

test('a device too small for one extent: 5, with the largest size that fits', async (t) => {
  const xvd = builtXvd(t);
  truncateSync(xvd.pool, 20 * 2 ** 20);
  const error = await xvd.refused(5, 'DEVICE_TOO_SMALL', 'format', xvd.pool);
  assert.match(`${String(error['message'])} ${String(error['fix'])}`, /\d+(\.\d+)? ?[KMG]/);
  assert.equal((await xvd.json('format', xvd.pool, '--extent-size', '4M'))['changed'], true);
});

test('what is not there ends with 3', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  for (const command of ['show', 'refresh', 'delete', 'restore']) {
    for (const disk of ['9', 'vd:9', 'nobody', '0', 'vd:0']) await xvd.refused(3, 'DISK_NOT_FOUND', command, disk);
  }
  await xvd.refused(3, 'DEVICE_NOT_FOUND', 'format', '/dev/no-such-device');
  await xvd.refused(3, 'DEVICE_NOT_FOUND', 'unformat', join(xvd.folder, 'nothing'));
  await xvd.refused(3, 'POOL_NOT_FOUND', 'create', '1M', '--pool', 'nowhere');
  await xvd.refused(3, 'FILE_NOT_FOUND', 'domain', 'start', join(xvd.folder, 'nothing.json'));
  await xvd.refused(3, 'FILE_NOT_FOUND', 'list', '--config', join(xvd.folder, 'nothing.toml'));
});

test('a description that is wrong ends with 2 and names what is wrong, also without a daemon', async (t) => {
  const xvd = builtXvd(t);
  const file = join(xvd.folder, 'web.json');
  writeFileSync(file, '{"name": "web", ');
  await xvd.refused(2, 'VALUE_INVALID', 'domain', 'start', file);
  writeFileSync(file, JSON.stringify({ name: 'web', kernel: '/k', memory: '64M', disks: [], colour: 'blue' }));
  assert.match(String((await xvd.refused(2, 'VALUE_INVALID', 'domain', 'start', file))['message']), /colour/);
});

test('without a daemon what needs one ends with 8, and says how to start it', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  await xvd.json('create', '1M');
  for (const words of [
    ['attach', 'vd:1', 'xvda', 'web01', '--driver', 'nbd'],
    ['detach', 'xvda', 'web01'],
    ['domain', 'list'],
    ['domain', 'stop', 'web01'],
  ]) {
    assert.match(String((await xvd.refused(8, 'DAEMON_NOT_RUNNING', ...words))['fix']), /xvd serve/);
  }
});

test('a catalog that is newer or no database ends with 9 and is left as it is', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  const path = join(xvd.environment['XVD_STATE'] ?? '', 'catalog.sqlite');
  {
    using db = new DatabaseSync(path);
    db.exec('PRAGMA user_version = 99999');
  }
  await xvd.refused(9, 'CATALOG_NEWER', 'list');
  await xvd.refused(9, 'CATALOG_NEWER', 'create', '1M');
  writeFileSync(path, 'this is no database, and it is long enough to be taken for one '.repeat(100));
  await xvd.refused(9, 'CATALOG_DAMAGED', 'list');
});

test('attach, vbds and detach: the shape, what changed, and what stands in the way', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  for (const size of ['10M', '10M']) await xvd.json('create', size);
  await xvd.serve();
  const nbd = ['--driver', 'nbd'];
  const dry = await xvd.json('attach', 'vd:1', 'xvda', 'web01', 'w', ...nbd, '--dry-run');
  hasKeys(dry, vbdKeys);
  assert.deepEqual(await xvd.json('vbds'), [], 'a dry run attaches nothing');
  const attached = await xvd.json('attach', 'vd:1', 'xvda', 'web01', 'w', ...nbd);
  hasKeys(attached, [...vbdKeys, 'changed']);
  for (const [key, value] of Object.entries({
    domain: 'web01',
    target: '/dev/xvda',
    vdev: 51_712,
    source: 'vd:1',
    mode: 'w',
    driver: 'nbd',
    state: 'attached',
    sizeBytes: 10_485_760,
    sharing: 0,
    persist: false,
    changed: true,
  }))
    assert.equal(attached[key], value, key);
  assert.match(String(attached['uri']), /^nbd\+unix:\/\/\//);
  const again = await xvd.json('attach', 'vd:1', '/dev/xvda', 'web01', 'rw', ...nbd);
  assert.deepEqual([again['changed'], again['generation']], [false, attached['generation']]);
  await xvd.refused(6, 'TARGET_TAKEN', 'attach', 'vd:2', 'xvda', 'web01', ...nbd);
  await xvd.refused(6, 'TARGET_TAKEN', 'attach', 'vd:1', 'xvda', 'web01', 'r', ...nbd);
  await xvd.refused(6, 'DISK_BUSY', 'delete', '1');
  assert.equal((await xvd.json<Row[]>('vbds')).length, 1);
  assert.equal((await xvd.json<Row[]>('vbds', 'web01')).length, 1);
  assert.deepEqual(await xvd.json('vbds', 'web02'), []);
  assert.equal(((await xvd.json('show', '1'))['vbds'] as Row[]).length, 1);
  await xvd.refused(3, 'VBD_NOT_FOUND', 'detach', 'xvdb', 'web01');
  await xvd.refused(3, 'DISK_NOT_FOUND', 'attach', 'vd:9', 'xvdb', 'web01', ...nbd);
  await xvd.refused(3, 'DOMAIN_NOT_FOUND', 'attach', 'vd:2', 'xvdb', 'nowhere');
  await xvd.refused(2, 'VALUE_INVALID', 'attach', 'vd:2', 'xvda01', 'web01', ...nbd);
  await xvd.refused(2, 'VALUE_INVALID', 'attach', 'vd:2', 'xvda', '77', ...nbd);
  const detached = await xvd.json('detach', 'xvda', 'web01');
  hasKeys(detached, vbdKeys);
  assert.equal(detached['state'], 'detached');
  await xvd.json('attach', 'vd:2', 'xvda', 'web01', ...nbd);
  const revoked = await xvd.json('delete', '2', '--force');
  assert.deepEqual([revoked['state'], await xvd.json('vbds')], ['expired', []]);
  await xvd.refused(6, 'DISK_EXPIRED', 'attach', 'vd:2', 'xvda', 'web01', ...nbd);
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});

test('sharing above the expert level ends with 4, its level and every conflict; XVD_EXPERT and --expert allow it', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  await xvd.json('create', '10M');
  await xvd.serve();
  await xvd.json('attach', 'vd:1', 'xvda', 'web01', 'w', '--driver', 'nbd');
  const reader = await xvd.refused(4, 'SHARING_REFUSED', 'attach', 'vd:1', 'xvda', 'web02', 'r', '--driver', 'nbd');
  assert.equal(reader['level'], 1);
  const conflicts = reader['conflicts'] as Row[];
  assert.equal(conflicts.length, 1);
  hasKeys(conflicts[0], ['user', 'name', 'mode', 'device', 'startSector', 'sectors']);
  assert.deepEqual([conflicts[0]?.['user'], conflicts[0]?.['mode'], conflicts[0]?.['startSector'], conflicts[0]?.['sectors']], ['vbd', 'w', 2048, 20_480]);
  assert.equal((await xvd.refused(4, 'SHARING_REFUSED', 'attach', 'vd:1', 'xvdb', 'web01', 'w', '--driver', 'nbd', '--expert', '1'))['level'], 2);
  const ofPool = await xvd.refused(4, 'DEVICE_OVERLAPS_POOL', 'attach', `phy:${xvd.pool}`, 'xvdb', 'web01', 'r', '--driver', 'nbd', '--expert', '2');
  assert.equal((ofPool['conflicts'] as Row[])[0]?.['user'], 'pool');
  const shared = await xvd.run('attach', 'vd:1', 'xvda', 'web02', 'r', '--driver', 'nbd', '--expert', '1');
  assert.equal(shared.status, 0, shared.err);
  assert.match(shared.err, /^warning: /m);
  assert.equal((await xvd.json<Row[]>('vbds', 'web02'))[0]?.['sharing'], 1);
});

test('domain list: this host, and what is attached to it; check and events have their shapes', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  await xvd.json('create', '1M');
  await xvd.serve();
  const domains = await xvd.json<Row[]>('domain', 'list');
  for (const domain of domains) hasKeys(domain, ['name', 'id', 'hypervisor', 'state', 'vbds']);
  assert.ok(
    domains.some((domain) => domain['hypervisor'] === 'host' && domain['name'] === '0'),
    JSON.stringify(domains),
  );
  await xvd.refused(3, 'DOMAIN_NOT_FOUND', 'domain', 'stop', 'nobody');
  await xvd.refused(3, 'DOMAIN_NOT_FOUND', 'domain', 'console', 'nobody');
  const events = await xvd.json<Row[]>('events');
  for (const event of events) {
    hasKeys(event, ['id', 'time', 'type', 'subject', 'cause', 'data']);
    assert.match(String(event['time']), instant);
  }
  assert.ok(events.some((event) => event['type'] === 'disk.created' && event['subject'] === 'vd:1'));
  await xvd.stopDaemon();
  hasKeys(await xvd.json('check', '--repair'), ['problems']);
});

test('help of every command goes to standard output and ends with 0; errors in words go to standard error', async (t) => {
  const xvd = builtXvd(t);
  const all = await xvd.run('--help');
  assert.deepEqual([all.status, all.err], [0, '']);
  const { commands } = await import('../../src/cli/commands.ts');
  for (const { name } of commands) {
    assert.ok(all.out.includes(`  ${name} `), name);
    const { status, out, err } = await xvd.run(...name.split(' '), '--help');
    assert.deepEqual([status, err], [0, ''], name);
    assert.match(out, new RegExp(`^usage: xvd ${name}`));
  }
  const wrong = await xvd.run('show', '9');
  assert.deepEqual([wrong.status, wrong.out], [3, '']);
  assert.match(wrong.err, /^xvd: .*\n {2}.*\n$/);
  assert.match((await xvd.run('--version')).out, /^\d+\.\d+\.\d+\n$/);
  errorIn(await xvd.run('--json'), 'USAGE');
});
