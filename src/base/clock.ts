// Time and randomness are parameters: nobody but the composition root reads a real clock.

import type { WallMs } from './units.ts';

/** One reading of all that the host knows of time, taken together. */
export type ClockReading = {
  readonly wallMs: WallMs;
  /** Changes with every boot of the host. */
  readonly bootId: string;
  /** Since boot, suspend included (CLOCK_BOOTTIME). */
  readonly sinceBootMs: number;
  /** The kernel says that wall time is kept in step with a reference (adjtimex). */
  readonly synchronised: boolean;
};

/** What is kept of a reading with each commit. */
export type ClockMark = Pick<ClockReading, 'wallMs' | 'bootId' | 'sinceBootMs'>;

export interface Clock {
  read(): ClockReading;
}

export interface Random {
  /** A version 4 UUID. */
  uuid(): string;
  /** 0 <= n < limit. */
  integer(limit: number): number;
}
