// Copies on labels: found again, newest first; torn ones are passed over; the newest is never written over.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { limits } from '../base/limits.ts';
import { encodeRecord, nextPlace, readRing } from './label-ring.ts';
import type { CopyPlace } from './label-ring.ts';

const payload = (length: number, seed: number): Buffer => Buffer.alloc(length, `copy ${seed} of many, `);

test('every copy that was not written over is found, newest first, whatever the sizes; the newest one always', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.nat({ max: 9_000 }), fc.nat({ max: 60_000 }), fc.nat({ max: 500_000 })), { minLength: 1, maxLength: 12 }), (sizes) => {
      const label = new Uint8Array(limits.labelBytes);
      let newest: CopyPlace | null = null;
      for (const [index, size] of sizes.entries()) {
        const record = encodeRecord({ commitNumber: 2 ** 33 + index, payload: payload(size, index) });
        newest = nextPlace(record.length, newest);
        assert.ok(newest !== null && newest.offset >= 4096 && newest.offset + record.length <= label.length);
        label.set(record, newest.offset);
        const [first] = readRing(label);
        assert.equal(first?.commitNumber, 2 ** 33 + index);
        assert.ok(payload(size, index).equals(first.payload));
      }
    }),
    { numRuns: 20 },
  );
});

test('a copy that was cut off leaves the one before it', () => {
  for (const size of [100, 30_000, 200_000, 500_000]) {
    const label = new Uint8Array(limits.labelBytes);
    const old = encodeRecord({ commitNumber: 1, payload: payload(size, 1) });
    const place = nextPlace(old.length, null);
    label.set(old, place?.offset);
    const torn = encodeRecord({ commitNumber: 2, payload: payload(size, 2) });
    const next = nextPlace(torn.length, place);
    label.set(torn.subarray(0, Math.ceil(size / 2)), next?.offset);
    assert.deepEqual(
      readRing(label).map((record) => record.commitNumber),
      [1],
    );
  }
});

test('what is larger than half a ring has no place', () => {
  assert.equal(nextPlace(127 * 4096, null)?.offset, 4096);
  assert.equal(nextPlace(128 * 4096, null), null);
});

test('noise holds no copies', () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 8192, maxLength: 8192 }), (noise) => readRing(noise).length === 0));
});
