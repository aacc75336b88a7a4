import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { limits } from '../base/limits.ts';
import { bytes } from '../base/units.ts';
import { DISK_MULTIPLE, formatSize, parseSize, roundDiskSize } from './size.ts';

test('parseSize() takes units of 1024 and of 1000, and fractions', () => {
  const sizes: Readonly<Record<string, number>> = {
    '64M': 64 * 1024 ** 2,
    '64MiB': 64 * 1024 ** 2,
    '1K': 1024,
    '2P': 2 * 1024 ** 5,
    '1.5T': 1.5 * 1024 ** 4,
    '10G': 10 * 1024 ** 3,
    '1kB': 1000,
    '10MB': 10_000_000,
    '1GB': 1e9,
    '512B': 512,
    ' 1 GiB ': 1024 ** 3,
  };
  for (const [text, size] of Object.entries(sizes)) assert.equal(parseSize(text), size, text);
});

test('parseSize() refuses a bare number, and says what to write', () => {
  assert.throws(
    () => parseSize('64'),
    (error: { code: string; exit: number; fix: string }) => error.code === 'VALUE_INVALID' && error.exit === 2 && error.fix.includes('64M'),
  );
});

test('parseSize() refuses 0, negative, senseless and too large sizes (F10)', () => {
  for (const text of [
    '0',
    '0M',
    '0B',
    '-1',
    '-1G',
    '',
    'M',
    '1X',
    '1..5G',
    '1e3M',
    '1G2',
    '0x10M',
    'NaN',
    'Infinity',
    '9P',
    '99999999999P',
    '0.0001B',
    '1,5G',
  ]) {
    assert.throws(() => parseSize(text), { code: 'VALUE_INVALID' }, JSON.stringify(text));
  }
});

test('formatSize() is exact when whole in a unit', () => {
  for (const [size, text] of [
    [0, '0 B'],
    [512, '512 B'],
    [1024, '1 KiB'],
    [64 * 1024 ** 2, '64 MiB'],
    [1.5 * 1024 ** 3, '1.5 GiB'],
    [1024 ** 5, '1 PiB'],
  ] as const)
    assert.equal(formatSize(size), text);
});

test('parseSize() reads what formatSize() writes, to within its two decimals', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: limits.sizeBytes - 1024 ** 5 }), (size) => {
      const read = parseSize(formatSize(size));
      assert.ok(Math.abs(read - size) <= size * 0.005 + 1, `${size}: ${formatSize(size)}`);
    }),
  );
});

test('roundDiskSize() is the least whole multiple that is not below', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: limits.sizeBytes }), (size) => {
      const rounded = roundDiskSize(bytes(size));
      assert.ok(rounded % DISK_MULTIPLE === 0 && rounded >= size && rounded - size < DISK_MULTIPLE);
    }),
  );
});
