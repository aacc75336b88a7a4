// How udev tells that its rules are done with a device, in libdevmapper's own way: the event of the device bears a cookie, and
// device-mapper's rules count down the System V semaphore of that number (`dmsetup udevcomplete`). It is looked at again and again:
// waiting in the kernel would take one of the few threads that all of Node's file calls share.

import { randomInt } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { XvdError } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import type { SemaphoreCalls } from '../../host/semaphore-calls.ts';
import { reasonOf } from './reason-of.ts';

type Cookie = Disposable & {
  /** What the event bears as DM_COOKIE. */
  readonly event: number;
  /** PROGRAM_FAILED when udev's rules are not done in that time. */
  done(name: string, timeoutMs?: number): Promise<void>;
};

/** The upper half of a semaphore's key, by which udev's rules find it (libdevmapper.h: DM_COOKIE_MAGIC). */
const COOKIE_MAGIC = 0x0d4d;
/** In the upper half of what the event bears: it comes from who made the device, so the rules act on it (DM_UDEV_PRIMARY_SOURCE_FLAG). */
const PRIMARY_SOURCE = 0x0040;
const EEXIST = 17;
/** Of a semaphore that is no more: somebody ran `dmsetup udevcomplete_all`, which stands for all rules that were waited for. */
const GONE: readonly number[] = [-22, -43];
const LOOK_MS = 2;

export function openCookie(semaphores: SemaphoreCalls): Cookie {
  let said = 0;
  for (let tries = 0; tries < limits.udevCookies; tries += 1) {
    const low = randomInt(1, 0x1_0000);
    said = semaphores.makeSemaphore(COOKIE_MAGIC * 0x1_0000 + low, 1);
    if (said >= 0) return cookieOf(semaphores, said, low);
    if (said !== -EEXIST) break;
  }
  throw new XvdError('PROGRAM_FAILED', `no semaphore for udev: ${reasonOf(said)}`, {
    fix: '`dmsetup udevcomplete_all`, while nothing else makes devices, removes what is left over.',
  });
}

const cookieOf = (semaphores: SemaphoreCalls, id: number, low: number): Cookie => ({
  event: PRIMARY_SOURCE * 0x1_0000 + low,
  async done(name, timeoutMs = limits.programMs) {
    for (const until = performance.now() + timeoutMs; ; await pause(LOOK_MS)) {
      const value = semaphores.semaphoreValue(id);
      if (value === 0 || GONE.includes(value)) return;
      if (performance.now() > until)
        throw new XvdError('PROGRAM_FAILED', `udev was not done with ${name} after ${timeoutMs} ms`, {
          fix: 'See whether systemd-udevd runs and gets on with its work: `udevadm settle`.',
        });
    }
  },
  [Symbol.dispose]: () => void semaphores.removeSemaphore(id),
});
