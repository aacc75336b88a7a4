// Units hold what they promise: safe non-negative integers, and exact changes from one to another.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { InvariantError } from './invariant.ts';
import { bytes, bytesOfSectors, extents, roundDown, roundUp, sectors, sectorsOfBytes, wallMs } from './units.ts';

test('a size is a safe integer from 0 on; anything else is a bug of ours', () => {
  for (const make of [bytes, sectors, extents]) {
    assert.equal(make(0), 0);
    assert.equal(make(Number.MAX_SAFE_INTEGER), Number.MAX_SAFE_INTEGER);
    for (const wrong of [-1, 0.5, NaN, Infinity, Number.MAX_SAFE_INTEGER + 1]) assert.throws(() => make(wrong), InvariantError);
  }
});

test('wall time may lie before 1970: a broken clock is judged elsewhere', () => {
  assert.equal(wallMs(-1), -1);
  assert.throws(() => wallMs(0.5), InvariantError);
});

test('sectors to bytes and back is exact; half a sector is a bug', () => {
  fc.assert(fc.property(fc.nat(2 ** 31), (count) => sectorsOfBytes(bytesOfSectors(sectors(count))) === count));
  assert.throws(() => sectorsOfBytes(bytes(513)), InvariantError);
});

test('rounding gives the nearest multiple on its side', () => {
  fc.assert(
    fc.property(fc.nat(2 ** 40), fc.integer({ min: 1, max: 2 ** 20 }), (value, multiple) => {
      const up = roundUp(value, multiple);
      const down = roundDown(value, multiple);
      assert.ok(up % multiple === 0 && up >= value && up - value < multiple);
      assert.ok(down % multiple === 0 && down <= value && value - down < multiple);
    }),
  );
});
