import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ClockReading } from '../base/clock.ts';
import { limits } from '../base/limits.ts';
import { wallMs } from '../base/units.ts';
import { judgeClock, type LastClock } from './clock.ts';

const start = Date.UTC(2026, 10, 23);
const hour = 3_600_000;
const reading = (wall: number, sinceBootMs: number, bootId = 'a', synchronised = false): ClockReading => ({
  wallMs: wallMs(wall),
  sinceBootMs,
  bootId,
  synchronised,
});
const last: LastClock = { reading: reading(start, hour), trustedMs: wallMs(start) };

test('the first commit of a catalog trusts the clock', () => {
  assert.deepEqual(judgeClock(null, reading(0, 1)), { nowMs: 0, trustedMs: 0, suspect: false, reason: null });
});

test('in one boot wall time that agrees with the time since boot is believed', () => {
  for (const drift of [0, limits.clockDriftMs, -limits.clockDriftMs]) {
    const wall = start + 2 * hour + drift;
    assert.deepEqual(judgeClock(last, reading(wall, 3 * hour)), { nowMs: wall, trustedMs: wall, suspect: false, reason: null });
  }
});

test('a jump within a boot is suspect, ahead and back, synchronised or not: now goes on by the time since boot, trust stays (F13)', () => {
  for (const wall of [Date.UTC(2099, 0), 0, start + hour + limits.clockDriftMs + 1, start + hour - limits.clockDriftMs - 1]) {
    for (const synchronised of [true, false]) {
      const judged = judgeClock(last, reading(wall, 2 * hour, 'a', synchronised));
      assert.equal(judged.suspect, true, String(wall));
      assert.equal(judged.nowMs, start + hour);
      assert.equal(judged.trustedMs, start);
      assert.match(judged.reason ?? '', wall > start + hour ? /jumped ahead/ : /went back/);
    }
  }
});

test('in another boot nothing is trusted until the kernel says that the clock is synchronised (F13)', () => {
  const wall = start + 100 * hour;
  assert.deepEqual(judgeClock(last, reading(wall, 5000, 'b', true)), { nowMs: wall, trustedMs: wall, suspect: false, reason: null });
  const judged = judgeClock(last, reading(wall, 5000, 'b'));
  assert.deepEqual([judged.suspect, judged.nowMs, judged.trustedMs], [true, start + 5000, start]);
});

test('a clock that went back over a reboot is suspect even when it is synchronised', () => {
  for (const wall of [0, start - 1]) {
    const judged = judgeClock(last, reading(wall, 5000, 'b', true));
    assert.deepEqual([judged.suspect, judged.nowMs, judged.trustedMs], [true, start + 5000, start]);
  }
});

test('whatever the clock does: trust and now never run backwards, trust is never ahead of now, and a suspect clock moves no trust', () => {
  const step = fc.record({
    wall: fc.integer({ min: -1000 * hour, max: 1000 * hour }),
    elapsed: fc.nat(10 * hour),
    reboot: fc.boolean(),
    synchronised: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      let known = last;
      let [boot, sinceBoot] = [0, hour];
      for (const { wall, elapsed, reboot, synchronised } of steps) {
        boot += reboot ? 1 : 0;
        sinceBoot = reboot ? elapsed : sinceBoot + elapsed;
        const now = reading(start + wall, sinceBoot, boot === 0 ? 'a' : `b${boot}`, synchronised);
        const judged = judgeClock(known, now);
        assert.ok(judged.trustedMs >= known.trustedMs && judged.nowMs >= known.trustedMs && judged.trustedMs <= judged.nowMs);
        assert.equal(judged.suspect, judged.reason !== null);
        if (judged.suspect) assert.equal(judged.trustedMs, known.trustedMs);
        // What change.ts stores: the reading only when it is believed.
        else known = { reading: now, trustedMs: judged.trustedMs };
      }
    }),
  );
});
