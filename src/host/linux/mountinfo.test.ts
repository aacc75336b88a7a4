import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mountOf, parseMountinfo } from './mountinfo.ts';
import { parseSignatures } from './signatures.ts';
import { parseSwaps } from './swaps.ts';

const text = [
  '27 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw,discard',
  '40 27 8:2 / /srv/my\\040files ro,relatime shared:2 master:3 - xfs /dev/sda2 rw',
  '41 27 0:39 / /data rw - btrfs /dev/sdb ro,space_cache',
  '42 27 0:21 / /proc rw - proc proc rw',
  'not a line',
].join('\n');

test('parseMountinfo() knows a mount by its number, whatever its source is called (F20)', () => {
  const [root, files, data] = parseMountinfo(text);
  assert.deepEqual(root, { number: '8:1', root: '/', mountPoint: '/', type: 'ext4', source: '/dev/root', writable: true, superWritable: true });
  assert.equal(files?.mountPoint, '/srv/my files');
  assert.deepEqual([files?.writable, files?.superWritable], [false, true], 'a read-only mount of a filesystem that writes');
  assert.deepEqual([data?.writable, data?.superWritable], [false, false]);
  assert.equal(parseMountinfo(text).length, 4);
});

test('mountOf() finds the deepest mount, and of two the later', () => {
  const mounts = parseMountinfo(`${text}\n50 27 8:9 / /data rw - ext4 /dev/sda9 rw`);
  assert.equal(mountOf(mounts, '/data/x')?.number, '8:9');
  assert.equal(mountOf(mounts, '/database')?.number, '8:1');
  assert.equal(mountOf(mounts, '/srv/my files/a')?.number, '8:2');
});

test('parseSwaps() tells partitions from files', () => {
  const swaps =
    'Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/sda5                               partition\t1000\t0\t-2\n/swap\\040file                              file\t\t10\t0\t-3\n';
  assert.deepEqual(parseSwaps(swaps), [
    { path: '/dev/sda5', isFile: false },
    { path: '/swap file', isFile: true },
  ]);
});

test('parseSignatures() names filesystems and partition tables in the words of blkid', () => {
  assert.deepEqual(parseSignatures('DEVNAME=/dev/sda\nUUID=1\nTYPE=LVM2_member\nUSAGE=raid\n'), ['LVM2_member']);
  assert.deepEqual(parseSignatures('DEVNAME=/dev/sda\nPTUUID=1\nPTTYPE=gpt\n'), ['gpt partition table']);
  assert.deepEqual(parseSignatures(''), []);
});
