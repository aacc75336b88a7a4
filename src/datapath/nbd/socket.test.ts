// The socket of a connection, on a real pair of sockets.

import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { EAGAIN, openSyscalls } from '../../host/syscalls.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { socketOf } from './socket.ts';
import type { Socket } from './socket.ts';

function pairFor(t: TestContext): { readonly syscalls: Syscalls; readonly ours: number; readonly theirs: number } {
  const syscalls = openSyscalls();
  assert.ok(syscalls !== null);
  const [ours, theirs] = syscalls.socketPair() ?? assert.fail('a pair of sockets');
  t.after(() => [ours, theirs].forEach(closeSync));
  return { syscalls, ours, theirs };
}

test('what comes is read meanwhile only as long as the client has answers to take', (t) => {
  const { syscalls, ours, theirs } = pairFor(t);
  const [server, client] = [socketOf(ours, ours, syscalls), socketOf(theirs, theirs, syscalls)];
  const [answer, request, taken] = [4096, 4096, 4096].map((length, index) => Buffer.allocUnsafeSlow(length).fill(index + 1));
  assert.ok(answer !== undefined && request !== undefined && taken !== undefined);
  // Asked often enough, as it is not looked each time.
  const meanwhile = (): number => {
    for (let times = 0; times < 20; times += 1) {
      const count = server.readMeanwhile?.(taken, 0, 28) ?? 0;
      if (count > 0) return count;
    }
    return 0;
  };
  client.write(request, 0, 28);
  assert.equal(meanwhile(), 0, 'it has no answers to take');
  server.write(answer, 0, 4096);
  assert.equal(meanwhile(), 28, 'it has one');
  assert.deepEqual(taken.subarray(0, 28), request.subarray(0, 28));
  assert.equal(meanwhile(), 0, 'it has one, and nothing comes');
  client.write(request, 0, 28);
  client.read(taken, 0, 4096);
  assert.equal(meanwhile(), 0, 'it has taken it');
  assert.equal(server.read(taken, 0, 28), 28, 'what came is still there');
});

test('after a write or a flush that waited for its device the next four are waited for asleep', (t) => {
  const { syscalls, ours, theirs } = pairFor(t);
  let asked = 0;
  const receiveNow: typeof syscalls.receiveNow = (...args) => {
    asked += 1;
    return syscalls.receiveNow(...args);
  };
  // Whatever comes, comes at once.
  const server = socketOf(ours, ours, { ...syscalls, receiveNow, microseconds: () => 0 });
  const client = socketOf(theirs, theirs, syscalls);
  const request = Buffer.allocUnsafeSlow(4096);
  const askedFor = (): number => {
    asked = 0;
    client.write(request, 0, 28);
    assert.equal(server.read(request, 0, 28), 28);
    return asked;
  };
  askedFor();
  assert.equal(askedFor(), 1, 'the client is quick');
  server.waited?.(false);
  assert.deepEqual([askedFor(), askedFor(), askedFor(), askedFor(), askedFor()], [0, 0, 0, 0, 1]);
});

/** A server whose client needs its processor: what it sends comes when it is not asked for any more, `afterUs` later, until it is let come. */
function contended(t: TestContext): {
  readonly asks: (onItsWay: boolean, afterUs: number) => boolean;
  askings(): number;
  yields(): number;
  readonly server: Socket;
  letCome(): void;
} {
  const { syscalls, ours, theirs } = pairFor(t);
  let now = 0;
  let takesUs = 0;
  let comes = false;
  let asked = 0;
  let yielded = 0;
  const yieldProcessor = (): void => void (yielded += 1);
  const receiveNow: typeof syscalls.receiveNow = (...args) => {
    asked += 1;
    return comes ? syscalls.receiveNow(...args) : -EAGAIN;
  };
  const receive: typeof syscalls.receive = (...args) => {
    now += takesUs;
    return syscalls.receive(...args);
  };
  const server = socketOf(ours, ours, { ...syscalls, receiveNow, yieldProcessor, receive, microseconds: () => (now += 1) });
  const client = socketOf(theirs, theirs, syscalls);
  const bytes = Buffer.allocUnsafeSlow(4096);
  const asks = (onItsWay: boolean, afterUs: number): boolean => {
    asked = 0;
    yielded = 0;
    takesUs = afterUs;
    client.write(bytes, 0, 28);
    assert.equal(server.read(bytes, 0, 28, onItsWay), 28);
    return asked > 0;
  };
  return { asks, askings: () => asked, yields: () => yielded, server, letCome: () => void (comes = true) };
}

test('after a read that waited for its device the next request is asked for a little longer: its client has to wake up', (t) => {
  const { asks, askings, server } = contended(t);
  const afterRead = (afterUs: number): boolean => {
    server.waited?.(true);
    return asks(false, afterUs);
  };
  assert.deepEqual([afterRead(60), afterRead(60)], [false, true]);
  assert.deepEqual([asks(false, 60), asks(false, 60)], [true, false], 'a client that was not asleep takes too long by that');
  assert.deepEqual([afterRead(90), afterRead(90)], [false, false]);
  times(5, () => afterRead(3));
  // Each step of the clock is four askings.
  const asked = askings();
  assert.ok(asked >= 4 * 75, `asked ${asked} times`);
});

test('who asks for the request of a client that was asleep lets it have the processor, and asks nobody else so', (t) => {
  const { asks, askings, yields, server } = contended(t);
  times(4, () => {
    server.waited?.(true);
    return asks(false, 3);
  });
  assert.equal(yields(), askings() / 4, 'after each look at the clock');
  assert.equal(asks(false, 3), true);
  assert.equal(yields(), 0);
});

test('how long is asked for a request follows requests, and for what is on its way what was', (t) => {
  const { asks, letCome } = contended(t);
  letCome();
  // A copy: each request is long in coming, and its rest is not.
  asks(false, 100);
  asks(true, 5);
  assert.deepEqual([asks(false, 100), asks(true, 5), asks(false, 100), asks(true, 5)], [false, true, false, true]);
});

const times = <T>(count: number, of: () => T): T[] => Array.from({ length: count }, of);

test('what was asked for in vain four times in a row is waited for asleep, sixteen times; what else is waited for is not', (t) => {
  const at = contended(t);
  const rest = (): boolean => at.asks(true, 5);
  assert.equal(rest(), false, 'how soon it comes is not known yet');
  assert.deepEqual(times(4, rest), [true, true, true, true]);
  at.server.waited?.(false);
  assert.deepEqual(
    times(16, rest),
    times(16, () => false),
    'and waiting for the device makes it no less',
  );
  assert.deepEqual(times(1, rest), [true], 'and once more, in vain');
  at.asks(false, 5);
  assert.equal(at.asks(false, 5), false, 'requests were waited for asleep because of the device');
  times(2, () => at.asks(false, 5));
  assert.equal(at.asks(false, 5), true);
  assert.equal(rest(), false);
  times(15, rest);
  at.letCome();
  assert.deepEqual(
    times(20, rest),
    times(20, () => true),
    'no more in vain',
  );
});

test('a client whose requests take almost as long as is asked is not left asleep while it is found out how long that is', (t) => {
  const at = contended(t);
  // 10, 20 and 40 µs in vain, each shorter than such a request takes; then 50, and only these count.
  const cycle = [false, true, true, true, true];
  assert.deepEqual(
    times(15, () => at.asks(false, 3)),
    [...cycle, ...cycle, ...cycle],
  );
});

test('a client with much to take is not asked at once', (t) => {
  const { syscalls, ours, theirs } = pairFor(t);
  let now = 0;
  const askedAt: number[] = [];
  const receiveNow: typeof syscalls.receiveNow = (...args) => {
    askedAt.push(now);
    return syscalls.receiveNow(...args);
  };
  const server = socketOf(ours, ours, { ...syscalls, receiveNow, microseconds: () => (now += 1) });
  const client = socketOf(theirs, theirs, syscalls);
  const bytes = Buffer.allocUnsafeSlow(64 * 1024);
  const askedAfter = (answerBytes: number): number => {
    server.write(bytes, 0, answerBytes);
    client.write(bytes, 0, 28);
    const began = now;
    askedAt.length = 0;
    assert.equal(server.readMeanwhile?.(bytes, 0, 28), 28);
    client.read(bytes, 0, bytes.length);
    return (askedAt[0] ?? 0) - began;
  };
  assert.ok(askedAfter(4096) < 5, 'one answer is soon taken');
  assert.ok(askedAfter(60 * 1024) >= 10, 'fifteen are not');
});
