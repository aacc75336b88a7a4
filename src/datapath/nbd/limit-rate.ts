// A filter: the reads and writes of a VBD, slowed to what it may do in a second, over all its connections. Each request books
// its time on a clock in the shared page; who is too far ahead of the real one sleeps, and nobody else with it.

import type { Rate } from '../../core/types.ts';
import type { VbdIo } from './vbd-io.ts';

/** So far ahead a VBD may go at once: short bursts run at full speed. */
const BURST_NS = 100_000_000n;
const SECOND_NS = 1_000_000_000;

export type RateClock = {
  /** Books that much time from now on, and gives how long it is booked ahead. */ book(kind: 'bytes' | 'requests', costNs: bigint, nowNs: bigint): bigint;
};

/** Over two 64-bit numbers that all connections share. */
export function makeRateClock(booked: BigInt64Array): RateClock {
  return {
    book(kind, costNs, nowNs) {
      const index = kind === 'bytes' ? 0 : 1;
      for (;;) {
        const before = Atomics.load(booked, index);
        const until = (before > nowNs ? before : nowNs) + costNs;
        if (Atomics.compareExchange(booked, index, before, until) === before) return until - nowNs;
      }
    },
  };
}

export type Pace = { readonly clock: RateClock; readonly nowNs: () => bigint; readonly sleepMs: (ms: number) => void };

export function limitRate(io: VbdIo, rate: Rate, { clock, nowNs, sleepMs }: Pace): VbdIo {
  const spend = (length: number): void => {
    const ahead: bigint[] = [];
    if (rate.bytesPerSecond !== undefined) ahead.push(clock.book('bytes', BigInt(Math.ceil((length * SECOND_NS) / rate.bytesPerSecond)), nowNs()));
    if (rate.requestsPerSecond !== undefined) ahead.push(clock.book('requests', BigInt(Math.ceil(SECOND_NS / rate.requestsPerSecond)), nowNs()));
    for (const ns of ahead) if (ns > BURST_NS) sleepMs(Number(ns - BURST_NS) / 1e6);
  };
  return {
    ...io,
    read(offset, buffer, at, length) {
      spend(length);
      io.read(offset, buffer, at, length);
    },
    write(offset, buffer, at, length) {
      spend(length);
      io.write(offset, buffer, at, length);
    },
    zero(offset, length, how) {
      // Zeroes cost a request: their bytes never travel.
      spend(0);
      return io.zero(offset, length, how);
    },
  };
}

export const realPace = (booked: BigInt64Array): Pace => {
  const never = new Int32Array(new SharedArrayBuffer(4));
  return { clock: makeRateClock(booked), nowNs: () => process.hrtime.bigint(), sleepMs: (ms) => void Atomics.wait(never, 0, 0, ms) };
};
