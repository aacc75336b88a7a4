// The real clock and real chance. Reading the time since boot needs no system call that Node lacks: /proc/uptime has it.

import { readFileSync } from 'node:fs';
import type { Clock, Random } from '../base/clock.ts';
import { wallMs } from '../base/units.ts';
import { openSyscalls } from '../host/syscalls.ts';

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
  const state = openSyscalls()?.clockState() ?? -1;
  return state >= 0 && state !== TIME_ERROR;
}

/** Node's cryptography is loaded when chance is first asked for: commands that only read never do. */
export function openRandom(): Random {
  const crypto = (): typeof import('node:crypto') => process.getBuiltinModule('node:crypto');
  return { uuid: () => crypto().randomUUID(), integer: (limit) => crypto().randomInt(limit) };
}
