// What the daemon reads of a VBD's counters: the connections are not asked, nor slowed.

import { closeSync, existsSync, openSync, readFileSync, readSync } from 'node:fs';
import { COUNTERS_BYTES, countersOf, requestsIn } from './counters.ts';
import type { Counted } from './counters.ts';

/** null: a daemon of an earlier version made no such file. */
export const countedIn = (path: string): Counted | null => (existsSync(path) ? countersOf(new Uint8Array(readFileSync(path))) : null);

/** Of one file after another. */
const numbers = new Float64Array(COUNTERS_BYTES / Float64Array.BYTES_PER_ELEMENT);

/** Called by a timer: what can't be read counts as busy, and ends nothing. */
export function requestsOf(path: string): number {
  try {
    if (!existsSync(path)) return 0;
    const fd = openSync(path, 'r');
    try {
      return requestsIn(numbers, readSync(fd, numbers, 0, numbers.byteLength, 0) / numbers.BYTES_PER_ELEMENT);
    } finally {
      closeSync(fd);
    }
  } catch {
    return Infinity;
  }
}
