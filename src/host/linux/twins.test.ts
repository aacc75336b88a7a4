// Two devices with one identity are found, and the paths of one device are not two.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fixtureRoots } from './fixture-sys.ts';
import type { FixtureDevice } from './fixture-sys.ts';
import { readBlockNode } from './sys-block.ts';
import { twinsOf } from './twins.ts';

const wwid = { 'device/wwid': 'naa.5000c500a1b2c3d4' };
const drives: readonly FixtureDevice[] = [
  { name: 'sda', number: '8:0', sectors: 100000, files: wwid },
  { name: 'sda1', number: '8:1', sectors: 50000, partOf: 'sda', start: 2048 },
  { name: 'sdb', number: '8:16', sectors: 100000, files: wwid },
  { name: 'sdb1', number: '8:17', sectors: 50000, partOf: 'sdb', start: 2048 },
  { name: 'sdc', number: '8:32', sectors: 100000, files: { 'device/wwid': 'naa.5000c500ffffffff' } },
];
const multipath: FixtureDevice = { name: 'dm-2', number: '253:2', sectors: 100000, slaves: ['sda', 'sdb'], dm: { name: 'mpatha', uuid: 'mpath-35000' } };

async function twins(devices: readonly FixtureDevice[], number: string): Promise<readonly string[]> {
  await using fixture = await fixtureRoots(devices);
  const node = readBlockNode(fixture.roots, number);
  assert.ok(node !== null);
  return twinsOf(fixture.roots, node).map(({ path }) => path);
}

test('two drives with one WWN are twins, and so are their partitions', async () => {
  assert.deepEqual(await twins(drives, '8:0'), ['/dev/sdb']);
  assert.deepEqual(await twins(drives, '8:16'), ['/dev/sda']);
  assert.deepEqual(await twins(drives, '8:17'), ['/dev/sda1']);
  assert.deepEqual(await twins(drives, '8:32'), []);
});

test('two drives with one serial number are twins, one without a medium is none', async () => {
  const serial = { serial: 'GIVEN TWICE' };
  const cards = (size: number): FixtureDevice[] => [
    { name: 'nvme0n1', number: '259:0', sectors: 1000, files: serial },
    { name: 'nvme1n1', number: '259:1', sectors: size, files: serial },
  ];
  assert.deepEqual(await twins(cards(1000), '259:0'), ['/dev/nvme1n1']);
  assert.deepEqual(await twins(cards(0), '259:0'), []);
});

test('the paths that multipath has joined are one device, and so are the partitions on them', async () => {
  const joined = [...drives, multipath];
  assert.deepEqual(await twins(joined, '8:0'), []);
  assert.deepEqual(await twins(joined, '8:1'), []);
  assert.deepEqual(await twins(joined, '253:2'), []);
  const third: FixtureDevice = { name: 'sdd', number: '8:48', sectors: 100000, files: wwid };
  assert.deepEqual(await twins([...joined, third], '8:0'), ['/dev/sdd'], 'one that was not joined');
});

test('what else stands on two devices makes them none the less two', async () => {
  const volume: FixtureDevice = { ...multipath, dm: { name: 'vg-both', uuid: 'LVM-abc' } };
  assert.deepEqual(await twins([...drives, volume], '8:0'), ['/dev/sdb']);
});

test('devices without an identity of their own are nobody’s twins, nor is a partition its drive’s', async () => {
  const bare: readonly FixtureDevice[] = [
    { name: 'loop0', number: '7:0', sectors: 100, files: { serial: 'same' } },
    { name: 'loop1', number: '7:1', sectors: 100, files: { serial: 'same' } },
    { name: 'vda', number: '252:0', sectors: 100, files: { serial: 'one' } },
    { name: 'vda1', number: '252:1', sectors: 50, partOf: 'vda', start: 0 },
  ];
  assert.deepEqual(await twins(bare, '7:0'), []);
  assert.deepEqual([await twins(bare, '252:0'), await twins(bare, '252:1')], [[], []]);
});
