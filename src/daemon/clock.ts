// The real clock and real chance. Reading the time since boot needs no system call that Node lacks: /proc/uptime has it.

import { randomInt, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Clock, Random } from '../base/clock.ts';
import { wallMs } from '../base/units.ts';

export function openClock(): Clock {
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return {
    read: () => ({
      wallMs: wallMs(Date.now()),
      bootId,
      sinceBootMs: Math.round(Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1000),
      // Asked only when the catalog was last used in another boot.
      get synchronised() {
        return isSynchronised();
      },
    }),
  };
}

const TIME_ERROR = 5;

/** adjtimex's own state; unknown counts as not synchronised. */
function isSynchronised(): boolean {
  try {
    const koffi = createRequire(import.meta.url)('koffi') as { load(path: string): { func(signature: string): (buffer: Uint8Array) => number } };
    const state = koffi.load('libc.so.6').func('int adjtimex(_Inout_ uint8_t *timex)')(new Uint8Array(256));
    return state >= 0 && state !== TIME_ERROR;
  } catch {
    return false;
  }
}

export const openRandom = (): Random => ({ uuid: () => randomUUID(), integer: (limit) => randomInt(limit) });
