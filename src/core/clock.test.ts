import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import type { ClockReading } from '../base/clock.ts';
import { wallMs } from '../base/units.ts';
import { judgeClock } from './clock.ts';
import type { LastClock } from './clock.ts';
import { diskState, isLiving } from './lease.ts';

const start = Date.UTC(2026, 10, 23);
const reading = (wall: number, sinceBootMs: number, bootId = 'b1', synchronised = false): ClockReading => ({ wallMs: wallMs(wall), sinceBootMs, bootId, synchronised });
const last: LastClock = { reading: reading(start, 1000), trustedMs: wallMs(start) };

test("judgeClock() trusts the clock at a catalog's first commit", () => {
  assert.deepEqual(judgeClock(null, reading(0, 0)), { nowMs: 0, trustedMs: 0, suspect: false, reason: null });
});

test('judgeClock(): in one boot wall time agrees with time since boot within 60 s', () => {
  for (const drift of [0, 60_000, -60_000]) assert.equal(judgeClock(last, reading(start + 100_000 + drift, 101_000)).suspect, false, String(drift));
  for (const drift of [60_001, -60_001, 73 * 365 * 864e5, -start]) {
    const { nowMs, trustedMs, suspect } = judgeClock(last, reading(start + 100_000 + drift, 101_000));
    assert.deepEqual({ nowMs, trustedMs, suspect }, { nowMs: start + 100_000, trustedMs: start, suspect: true });
  }
});

test('judgeClock(): in another boot nothing moves on until the clock is synchronised; going back is suspect even then', () => {
  const after = judgeClock(last, reading(start + 864e5, 5000, 'b2'));
  assert.deepEqual([after.nowMs, after.trustedMs, after.suspect], [start + 5000, start, true]);
  assert.equal(judgeClock(last, reading(start + 864e5, 5000, 'b2', true)).suspect, false);
  assert.equal(judgeClock(last, reading(start - 1, 5000, 'b2', true)).suspect, true);
});

test('F13: whatever the clock says, judged time never goes back, and a suspect clock raises no mark', () => {
  fc.assert(
    fc.property(fc.integer({ min: -1e14, max: 1e14 }), fc.integer({ min: 0, max: 1e10 }), fc.boolean(), fc.boolean(), (wall, since, sameBoot, synchronised) => {
      const judged = judgeClock(last, reading(wall, since + 1000, sameBoot ? 'b1' : 'b2', synchronised));
      assert.ok(judged.nowMs >= start && judged.trustedMs >= start);
      if (judged.suspect) assert.equal(judged.trustedMs, start);
      assert.equal(judged.suspect, judged.reason !== null);
    }),
  );
});

test('F16: at every instant a disk is exactly one of living and expired', () => {
  const disk = { expiresAt: wallMs(1000), preparing: false, lostBytes: 0 as never };
  assert.deepEqual([999, 1000, 1001].map((now) => diskState(disk, wallMs(now))), ['live', 'expired', 'expired']);
  assert.equal(isLiving({ expiresAt: null }, wallMs(Number.MAX_SAFE_INTEGER)), true);
  assert.equal(diskState({ ...disk, preparing: true }, wallMs(0)), 'preparing');
  assert.equal(diskState({ ...disk, lostBytes: 1 as never }, wallMs(1000)), 'reclaimed');
});
