// The host's clocks and its randomness: the only place that reads them.

import { randomInt, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Clock, Random } from '../../base/clock.ts';
import { wallMs } from '../../base/units.ts';
import { clockIsSynchronised, sinceBootNs } from './kernel-calls.ts';

export const readBootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();

export function openSystemClock(): Clock {
  const bootId = readBootId();
  return {
    read: () => ({ wallMs: wallMs(Date.now()), bootId, sinceBootMs: Number(sinceBootNs() / 1_000_000n), synchronised: clockIsSynchronised() }),
  };
}

export const systemRandom: Random = { uuid: () => randomUUID(), integer: (limit) => randomInt(limit) };
