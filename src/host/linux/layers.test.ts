import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseLinearTable } from './dm-table.ts';
import { fixtureRoots } from './fixture-sys.ts';
import type { FixtureDevice } from './fixture-sys.ts';
import { identityOfBlock } from './identity.ts';
import { footprintBelow, footprintOfFile, footprintOfNode } from './layers.ts';
import type { LayerFacts, LoopBacking } from './layers.ts';
import { readBlockNode } from './sys-block.ts';
import type { SysRoots } from './sys-block.ts';

type Others = { readonly tables?: Readonly<Record<string, string>>; readonly loops?: Readonly<Record<string, LoopBacking>> };

const factsOf = (roots: SysRoots, { tables = {}, loops = {} }: Others = {}): LayerFacts => ({
  node: (number) => readBlockNode(roots, number),
  loop: (number) => loops[number] ?? null,
  table: async (node) => parseLinearTable(tables[node.dm?.name ?? ''] ?? '0 1 unknown'),
  filesystemDevice: (number) => [number],
});

async function footprint(devices: readonly FixtureDevice[], number: string, others: Others = {}) {
  await using fixture = await fixtureRoots(devices);
  const { own, below, via } = await footprintOfNode(factsOf(fixture.roots, others), number);
  const flat = (ranges: typeof own): string[] =>
    ranges.map(({ space, startSector, sectors, atSector }) => `${space} ${startSector}+${sectors}${atSector === undefined ? '' : ` at ${atSector}`}`);
  return { own: flat(own), below: flat(below), via };
}

const nvme: readonly FixtureDevice[] = [
  {
    name: 'nvme0n1',
    number: '259:0',
    sectors: 1000000,
    files: { wwid: 'eui.0025385b01', 'queue/logical_block_size': '4096', 'queue/physical_block_size': '4096' },
  },
  { name: 'nvme0n1p1', number: '259:1', sectors: 2048, partOf: 'nvme0n1', start: 2048, files: { uevent: 'DEVNAME=nvme0n1p1\nPARTUUID=aa-bb' } },
];
const mmc: readonly FixtureDevice[] = [
  { name: 'mmcblk0', number: '179:0', sectors: 60000, files: { 'device/serial': '0xcafe' } },
  { name: 'mmcblk0p12', number: '179:12', sectors: 100, partOf: 'mmcblk0', start: 5000 },
];
const sda: readonly FixtureDevice[] = [
  { name: 'sda', number: '8:0', sectors: 100000, udev: { ID_SERIAL: 'QEMU_HARDDISK_1' } },
  { name: 'sda3', number: '8:3', sectors: 50000, partOf: 'sda', start: 10000 },
  { name: 'sdb', number: '8:16', sectors: 100000 },
];

test('partitions of nvme and mmcblk are ranges of their drives, by /sys and not by name (F8)', async () => {
  assert.deepEqual((await footprint(nvme, '259:1')).own, ['drive:259:0 2048+2048']);
  assert.deepEqual((await footprint(nvme, '259:0')).own, ['drive:259:0 0+1000000']);
  assert.deepEqual((await footprint(mmc, '179:12')).own, ['drive:179:0 5000+100']);
});

test('a partition takes blocks and identity from its drive, and its own start (F7, F8)', async () => {
  await using fixture = await fixtureRoots([...nvme, ...mmc, ...sda]);
  const identity = (number: string) => {
    const node = readBlockNode(fixture.roots, number);
    assert.ok(node !== null);
    return identityOfBlock(node);
  };
  assert.equal(readBlockNode(fixture.roots, '259:1')?.logicalBlockBytes, 4096);
  assert.equal(readBlockNode(fixture.roots, '259:1')?.path, '/dev/nvme0n1p1');
  assert.deepEqual(identity('259:1'), { kind: 'wwn', value: 'eui.0025385b01', startSector: 2048 });
  assert.deepEqual(identity('179:12'), { kind: 'serial', value: '0xcafe', startSector: 5000 });
  assert.deepEqual(identity('8:0'), { kind: 'serial', value: 'QEMU_HARDDISK_1', startSector: 0 });
  assert.deepEqual(identity('8:16'), { kind: 'path', path: '/dev/sdb' });
  assert.equal(readBlockNode(fixture.roots, '8:99'), null);
});

test('a linear device stands exactly on its pieces, each where it lies in it', async () => {
  const lv: FixtureDevice = { name: 'dm-0', number: '253:0', sectors: 300, slaves: ['sda3', 'sdb'], dm: { name: 'vg-lv', uuid: 'LVM-abc' } };
  const found = await footprint([...sda, lv], '253:0', { tables: { 'vg-lv': '0 100 linear 8:3 384\n100 200 linear 8:16 2048\n' } });
  assert.deepEqual(found.own, ['drive:253:0 0+300', 'drive:8:0 10384+100', 'drive:8:16 2048+200 at 100']);
  assert.deepEqual(found.below, []);
  assert.deepEqual(found.via, ['drive:253:0']);
});

test('linear devices on each other resolve down to the drive', async () => {
  const stack: readonly FixtureDevice[] = [
    ...sda,
    { name: 'dm-0', number: '253:0', sectors: 1000, slaves: ['sda'], dm: { name: 'lower', uuid: 'LVM-a' } },
    { name: 'dm-1', number: '253:1', sectors: 100, slaves: ['dm-0'], dm: { name: 'upper', uuid: 'LVM-b' } },
  ];
  const found = await footprint(stack, '253:1', { tables: { lower: '0 500 linear 8:0 50\n500 500 linear 8:0 5000', upper: '0 100 linear 253:0 450' } });
  assert.deepEqual(found.own, ['drive:253:1 0+100', 'drive:253:0 450+100', 'drive:8:0 500+50', 'drive:8:0 5000+50 at 50']);
});

test('a stack without fixed ranges counts as all of what is below it', async () => {
  const crypt: FixtureDevice = { name: 'dm-0', number: '253:0', sectors: 49000, slaves: ['sda3'], dm: { name: 'secret', uuid: 'CRYPT-LUKS2-x' } };
  const found = await footprint([...sda, crypt], '253:0', { tables: { secret: '0 49000 crypt aes-xts-plain64 :64:logon:x 0 8:3 32768' } });
  assert.deepEqual([found.own, found.below], [['drive:253:0 0+49000'], ['drive:8:0 10000+50000']]);
  const raid: FixtureDevice = { name: 'md127', number: '9:127', sectors: 90000, slaves: ['sda3', 'sdb'] };
  const md = await footprint([...sda, raid], '9:127');
  assert.deepEqual(md.below, ['drive:8:0 10000+50000', 'drive:8:16 0+100000']);
  assert.deepEqual(md.via, ['drive:9:127']);
});

test('the paths of one multipath device are one device', async () => {
  const mpath: FixtureDevice = { name: 'dm-2', number: '253:2', sectors: 100000, slaves: ['sda', 'sdb'], dm: { name: 'mpatha', uuid: 'mpath-360' } };
  const part: FixtureDevice = { name: 'dm-3', number: '253:3', sectors: 500, slaves: ['dm-2'], dm: { name: 'mpatha1', uuid: 'part1-mpath-360' } };
  const found = await footprint([...sda, mpath, part], '253:3', { tables: { mpatha1: '0 500 linear 253:2 2048' } });
  assert.deepEqual(found.own, ['drive:253:3 0+500', 'drive:253:2 2048+500', 'drive:8:0 2048+500', 'drive:8:16 2048+500']);
});

test('one path of a multipath device stands on the other paths too, also by a partition', async () => {
  const mpath: FixtureDevice = { name: 'dm-2', number: '253:2', sectors: 100000, slaves: ['sda', 'sdb'], dm: { name: 'mpatha', uuid: 'mpath-360' } };
  assert.deepEqual((await footprint([...sda, mpath], '8:16')).own, ['drive:8:16 0+100000', 'drive:8:0 0+100000']);
  assert.deepEqual((await footprint([...sda, mpath], '8:3')).own, ['drive:8:0 10000+50000', 'drive:8:16 10000+50000']);
});

test('a loop device stands on a range of its file, and the file on the device of its filesystem', async () => {
  const loop: FixtureDevice = { name: 'loop5', number: '7:5', sectors: 100 };
  const file = { device: '8:3', inode: 12, sizeBytes: 1024 * 1024, filesystem: '8:3' };
  const loops = { '7:5': { kind: 'file', file, offsetBytes: 4096, readOnly: false, path: '/img' } } as const;
  const found = await footprint([...sda, loop], '7:5', { loops });
  assert.deepEqual(found, { own: ['drive:7:5 0+100', 'file:8:3:12 8+100'], below: ['drive:8:0 10000+50000'], via: ['drive:7:5', 'fs:8:3'] });
  await using fixture = await fixtureRoots([...sda, loop]);
  assert.deepEqual((await footprintOfFile(factsOf(fixture.roots), file)).own, [{ space: 'file:8:3:12', startSector: 0, sectors: 2048 }]);
  assert.deepEqual((await footprintBelow(factsOf(fixture.roots, { loops }), '7:5')).own, [{ space: 'file:8:3:12', startSector: 8, sectors: 100 }]);
});

test('a holder stands on exactly what its table says, or on all of what is below', async () => {
  const lv: FixtureDevice = { name: 'dm-0', number: '253:0', sectors: 100, slaves: ['sda3'], dm: { name: 'vg-lv', uuid: 'LVM-abc' } };
  await using fixture = await fixtureRoots([...sda, lv]);
  const exact = await footprintBelow(factsOf(fixture.roots, { tables: { 'vg-lv': '0 100 linear 8:3 384' } }), '253:0');
  assert.deepEqual(exact.own, [{ space: 'drive:8:0', startSector: 10384, sectors: 100, device: '/dev/sda' }]);
  const whole = await footprintBelow(factsOf(fixture.roots), '253:0');
  assert.deepEqual(whole.own, [{ space: 'drive:8:0', startSector: 10000, sectors: 50000, device: '/dev/sda' }]);
});

test('an error table stands on nothing; a table that makes no sense has no fixed ranges', () => {
  assert.deepEqual(parseLinearTable('0 100 error\n'), []);
  assert.equal(parseLinearTable('0 100 linear /dev/sda 0'), null);
  assert.equal(parseLinearTable('0 x linear 8:0 0'), null);
  assert.equal(parseLinearTable('0 100 thin 253:4 1'), null);
});
