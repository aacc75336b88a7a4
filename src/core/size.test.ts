import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { XvdError } from '../base/error.ts';
import { bytes } from '../base/units.ts';
import { formatSize, parseSize, roundDiskSize } from './size.ts';

const refused = (text: string, fix = /./): void =>
  assert.throws(
    () => parseSize(text),
    (error) => error instanceof XvdError && error.code === 'VALUE_INVALID' && fix.test(error.fix),
    JSON.stringify(text),
  );

test('parseSize(): K M G T P and KiB are powers of 1024, kB MB GB of 1000', () => {
  const known = { '64M': 64 * 2 ** 20, '64MiB': 64 * 2 ** 20, '10G': 10 * 2 ** 30, '1.5T': 1.5 * 2 ** 40, '1K': 1024, '1KiB': 1024, '1kB': 1000, '10MB': 10_000_000, '2GB': 2e9, '1P': 2 ** 50, '4PB': 4e15, '512B': 512 };
  for (const [text, size] of Object.entries(known)) assert.equal(parseSize(text), size, text);
});

test('parseSize() refuses a bare number, and the hint is a size with a unit', () => {
  for (const text of ['64', '0', '1.5', ' 64 ']) refused(text, /M.*G/);
});

test('F10: parseSize() refuses 0, negative, huge and what is no size', () => {
  const wrong = ['', ' ', '0M', '0.0G', '-1M', '-64', '+1M', '1e3M', '1e3', 'M', '.5G', '5.M', '1,5G', 'NaN', 'Infinity', '0x10M', '1 M M', '1Mi', '1X', '1m', '1g', '9P', '9999999999999999999P', `${'9'.repeat(400)}M`, '64M\0', "1M'; DROP TABLE disk", '１M', '0.0000001K'];
  for (const text of wrong) refused(text);
});

test('parseSize() reads what formatSize() shows of whole units', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1023 }), fc.integer({ min: 0, max: 4 }), (count, power) => {
      const size = count * 1024 ** power;
      assert.equal(parseSize(formatSize(size)), size);
    }),
  );
});

test('roundDiskSize() is the next whole multiple of 4096', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 50 }), (size) => {
      const rounded = roundDiskSize(bytes(size));
      assert.ok(rounded % 4096 === 0 && rounded >= size && rounded - size < 4096);
    }),
  );
});
