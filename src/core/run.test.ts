import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { InvariantError } from '../base/invariant.ts';
import { bytes, extents, MIB, type Bytes } from '../base/units.ts';
import { joinRuns, overlaps, runBytes, runEnd, takeFromUnowned, takeTail } from './run.ts';
import type { Run } from './types.ts';

const run = (deviceId: number, firstExtent: number, count: number, clean = false): Run => ({
  deviceId,
  firstExtent: extents(firstExtent),
  count: extents(count),
  clean,
});
/** Devices with extents of different sizes. */
const extentBytesOf = (deviceId: number): Bytes => bytes(deviceId * MIB);
const extentsOf = (runs: readonly Run[]): string[] =>
  runs.flatMap((one) => Array.from({ length: one.count }, (_, index) => `${one.deviceId}:${one.firstExtent + index}:${one.clean}`));
const sizeOf = (runs: readonly Run[]): number => runs.reduce((sum, one) => sum + runBytes(one, extentBytesOf(one.deviceId)), 0);

const someRun = fc.tuple(fc.integer({ min: 1, max: 3 }), fc.nat(40), fc.integer({ min: 1, max: 9 }), fc.boolean()).map((parts) => run(...parts));
const someRuns = fc.array(someRun, { maxLength: 8 });

test('overlaps() is on one device only, and not for what only touches', () => {
  assert.ok(overlaps(run(1, 0, 10), run(1, 9, 1)));
  assert.ok(overlaps(run(1, 5, 1), run(1, 0, 10)));
  assert.ok(!overlaps(run(1, 0, 10), run(1, 10, 1)));
  assert.ok(!overlaps(run(1, 0, 10), run(2, 0, 10)));
});

test('takeFromUnowned() takes the head that covers what is missing, or all of the run', () => {
  assert.deepEqual(takeFromUnowned(run(1, 7, 10, true), bytes(MIB), bytes(2 * MIB + 1)), run(1, 7, 3, true));
  assert.deepEqual(takeFromUnowned(run(1, 7, 10), bytes(MIB), bytes(10 * MIB)), run(1, 7, 10));
  assert.deepEqual(takeFromUnowned(run(1, 7, 10), bytes(MIB), bytes(90 * MIB)), run(1, 7, 10));
});

test('takeTail() takes the end of a disk as one ascending run, and splits at most one', () => {
  assert.deepEqual(takeTail([run(1, 50, 4), run(1, 10, 6)], extentBytesOf, bytes(2 * MIB)), { kept: [run(1, 50, 4), run(1, 10, 4)], taken: [run(1, 14, 2)] });
  assert.deepEqual(takeTail([run(1, 50, 4), run(1, 10, 6)], extentBytesOf, bytes(8 * MIB)), { kept: [run(1, 50, 2)], taken: [run(1, 52, 2), run(1, 10, 6)] });
  assert.deepEqual(takeTail([], extentBytesOf, bytes(MIB)), { kept: [], taken: [] });
});

test('takeTail(): kept then taken are the disk as it was, in its order (F1); no more is taken than needed', () => {
  fc.assert(
    fc.property(someRuns, fc.nat(80 * MIB), (runs, missing) => {
      const before = structuredClone(runs);
      const { kept, taken } = takeTail(runs, extentBytesOf, bytes(missing));
      assert.deepEqual(runs, before);
      assert.deepEqual([...extentsOf(kept), ...extentsOf(taken)], extentsOf(runs));
      assert.ok(sizeOf(taken) >= Math.min(missing, sizeOf(runs)));
      const first = taken[0];
      if (first !== undefined) assert.ok(sizeOf(taken) - extentBytesOf(first.deviceId) < missing);
      assert.ok(kept.length + taken.length <= runs.length + 1);
    }),
  );
});

test('joinRuns() keeps every extent, its order and its cleanness, and leaves nothing to join', () => {
  assert.deepEqual(joinRuns([run(1, 0, 2), run(1, 2, 3), run(1, 5, 1, true), run(2, 6, 1, true)]), [run(1, 0, 5), run(1, 5, 1, true), run(2, 6, 1, true)]);
  fc.assert(
    fc.property(someRuns, (runs) => {
      const joined = joinRuns(runs);
      assert.deepEqual(extentsOf(joined), extentsOf(runs));
      for (const [index, one] of joined.entries()) {
        const next = joined[index + 1];
        assert.ok(next === undefined || next.deviceId !== one.deviceId || next.firstExtent !== runEnd(one) || next.clean !== one.clean);
      }
    }),
  );
  assert.throws(() => joinRuns([run(1, 0, 0)]), InvariantError);
});
