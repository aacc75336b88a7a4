import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openSyscalls } from '../../host/syscalls.ts';
import { clockOf, elapsedUs } from './clock.ts';

/** The same clock by Node, in as many bits. */
const nodesUs = (): number => Number(BigInt.asIntN(32, process.hrtime.bigint() / 1000n));

test('a connection’s clock is the host’s steady one, in microseconds', () => {
  const syscalls = openSyscalls();
  assert.ok(syscalls !== null);
  const clock = clockOf(syscalls);
  for (let round = 0; round < 1000; round += 1) {
    const before = nodesUs();
    const now = clock();
    const after = nodesUs();
    assert.equal(elapsedUs(before, now) + elapsedUs(now, after), elapsedUs(before, after), `${before} ${now} ${after}`);
  }
});

test('what has elapsed is right where the clock has wrapped', () => {
  assert.equal(elapsedUs(2 ** 31 - 1, -(2 ** 31)), 1);
  assert.equal(elapsedUs(-5, 5), 10);
  assert.equal(elapsedUs(7, 7), 0);
  assert.equal(elapsedUs(0, 3_600_000_000 | 0), 3_600_000_000, 'an hour');
});

test('without system calls of our own it goes on, too', () => {
  const clock = clockOf(null);
  const began = clock();
  assert.ok(Number.isInteger(began) && elapsedUs(began, clock()) < 2 ** 31);
});
