import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limitRate, makeRateClock } from './limit-rate.ts';
import type { VbdIo } from './vbd-io.ts';

const idle: VbdIo = { read: () => {}, write: () => {}, zero: () => true, flush: () => {}, expect: () => {}, placeOf: () => null, status: () => [] };

/** Two connections over one clock; sleeping moves the time. */
function twoConnections(rate: Parameters<typeof limitRate>[1]): { ios: readonly VbdIo[]; passedMs: () => number } {
  let now = 5_000_000_000n;
  const clock = makeRateClock(new BigInt64Array(2));
  const pace = { clock, nowNs: () => now, sleepMs: (ms: number) => void (now += BigInt(Math.round(ms * 1e6))) };
  return { ios: [limitRate(idle, rate, pace), limitRate(idle, rate, pace)], passedMs: () => Number(now - 5_000_000_000n) / 1e6 };
}

test('bytes a second hold over all connections of a VBD, after a short burst', () => {
  const { ios, passedMs } = twoConnections({ bytesPerSecond: 1_000_000 });
  const buffer = Buffer.alloc(1000);
  for (let round = 0; round < 1000; round += 1) for (const io of ios) io.write(0, buffer, 0, 1000);
  assert.ok(passedMs() >= 1899 && passedMs() <= 1901, `${passedMs()} ms for 2 MB at 1 MB/s`);
});

test('requests a second count reads, writes and zeroes alike', () => {
  const { ios, passedMs } = twoConnections({ requestsPerSecond: 100 });
  const [io] = ios;
  for (let round = 0; round < 100; round += 1) {
    io?.read(0, Buffer.alloc(0), 0, 0);
    io?.zero(0, 4096, { mayPunch: true, fastOnly: true });
  }
  assert.ok(passedMs() >= 1899 && passedMs() <= 1901, `${passedMs()} ms for 200 requests at 100 a second`);
});
