// Whether wall time is believed (F13): a jump of the clock releases nothing by itself.
// In one boot wall time must agree with the time since boot; in another boot only what had expired by the last trusted
// time counts until the kernel says that the clock is synchronised, or an operator accepts it.

import type { ClockMark, ClockReading } from '../base/clock.ts';
import { limits } from '../base/limits.ts';
import { wallMs } from '../base/units.ts';
import type { WallMs } from '../base/units.ts';

/** The last believed reading, and the time that was trusted with the last commit. */
export type LastClock = { readonly reading: ClockMark; readonly trustedMs: WallMs };

export type Judgement = {
  /** By this, states and new leases are judged. */
  readonly nowMs: WallMs;
  /** What had expired by then may be reclaimed and revoked. */
  readonly trustedMs: WallMs;
  readonly suspect: boolean;
  readonly reason: string | null;
};

export function judgeClock(last: LastClock | null, reading: ClockReading): Judgement {
  const believed = { nowMs: reading.wallMs, trustedMs: reading.wallMs, suspect: false, reason: null };
  if (last === null) return believed;
  if (reading.bootId === last.reading.bootId) return sameBoot(last, reading, believed);
  const back = last.trustedMs - reading.wallMs;
  if (back > 0) return suspect(last, reading.sinceBootMs, `it went back by ${seconds(back)} s over a reboot`);
  if (reading.synchronised) return believed;
  return suspect(last, reading.sinceBootMs, 'the host was booted again and its clock is not synchronised yet');
}

function sameBoot(last: LastClock, reading: ClockReading, believed: Judgement): Judgement {
  const elapsed = Math.max(0, reading.sinceBootMs - last.reading.sinceBootMs);
  const drift = reading.wallMs - last.reading.wallMs - elapsed;
  if (Math.abs(drift) > limits.clockDriftMs) {
    return suspect(last, elapsed, `it ${drift < 0 ? 'went back' : 'jumped ahead'} by ${seconds(Math.abs(drift))} s`);
  }
  // Small steps back are slewing: time as judged never runs backwards.
  const nowMs = wallMs(Math.max(reading.wallMs, last.trustedMs));
  return { ...believed, nowMs, trustedMs: nowMs };
}

function suspect(last: LastClock, elapsedMs: number, reason: string): Judgement {
  return { nowMs: wallMs(last.trustedMs + Math.floor(elapsedMs)), trustedMs: last.trustedMs, suspect: true, reason };
}

const seconds = (ms: number): number => Math.round(ms / 1000);
