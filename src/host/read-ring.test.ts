// Reads through io_uring: what comes back, into which slot, and what does not.

import assert from 'node:assert/strict';
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { openSyscalls } from './syscalls.ts';

const BLOCK = 4096;
const BLOCKS = 512;
const SLOTS = 8;
const EBADF = 9;
const EINVAL = 22;

const syscalls = openSyscalls();
assert.ok(syscalls !== null);

/** Block n is full of n. */
function openFile(): Disposable & { readonly fd: number } {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-ring-'));
  const fd = openSync(join(folder, 'file'), 'w+');
  for (let block = 0; block < BLOCKS; block += 1) writeSync(fd, Buffer.alloc(BLOCK, block % 251));
  fdatasyncSync(fd);
  return {
    fd,
    [Symbol.dispose]() {
      closeSync(fd);
      rmSync(folder, { recursive: true });
    },
  };
}

for (const cached of [true, false])
  test(`openReadQueue() fills each slot with what was asked for, ${cached ? 'from the page cache' : 'from the device'}`, () => {
    using file = openFile();
    const queue = syscalls.openReadQueue(SLOTS, BLOCK, file.fd);
    assert.ok(queue !== null, 'this kernel has io_uring');
    if (!cached) assert.equal(syscalls.dropCache(file.fd, 0, 0), 0);
    const late: boolean[] = [];
    // More often than its rings are long.
    for (let first = 0; first < BLOCKS; first += SLOTS) {
      const blockOf = (slot: number): number => (first + slot * 7) % BLOCKS;
      for (let slot = 0; slot < SLOTS; slot += 1) assert.equal(queue.begin('read', slot, file.fd, blockOf(slot) * BLOCK, BLOCK), 0);
      const seen = new Set<number>();
      while (seen.size < SLOTS)
        queue.wait((slot, result, wasLate) => {
          assert.equal(result, BLOCK);
          const data = Buffer.from(queue.memory.subarray(slot * BLOCK, (slot + 1) * BLOCK));
          assert.ok(data.equals(Buffer.alloc(BLOCK, blockOf(slot) % 251)), `slot ${slot} has its block`);
          seen.add(slot);
          late.push(wasLate);
        }, SLOTS);
      assert.equal(seen.size, SLOTS);
    }
    if (cached) assert.ok(!late.includes(true), 'what is cached is there at once');
  });

test('openReadQueue() tells of no more at once than is asked for, and of the others later, who were there at once, too', () => {
  using file = openFile();
  const queue = syscalls.openReadQueue(SLOTS, BLOCK, file.fd);
  assert.ok(queue !== null);
  for (let slot = 0; slot < 5; slot += 1) assert.equal(queue.begin('read', slot, file.fd, slot * BLOCK, BLOCK), 0);
  const told: number[] = [];
  while (told.length < 5) {
    const before = told.length;
    queue.wait((slot, _, late) => {
      told.push(slot);
      assert.equal(late, false, `slot ${slot} is cached`);
    }, 2);
    assert.ok(told.length - before <= 2, `${told.length - before} at once`);
  }
  assert.deepEqual(told.toSorted(), [0, 1, 2, 3, 4]);
});

test('openReadQueue() tells errors by the read, and takes no writes', () => {
  using file = openFile();
  const queue = syscalls.openReadQueue(SLOTS, BLOCK, file.fd);
  assert.ok(queue !== null);
  assert.equal(queue.begin('write', 0, file.fd, 0, BLOCK), -EINVAL);
  const results = new Map<number, number>();
  queue.begin('read', 0, file.fd, BLOCKS * BLOCK, BLOCK);
  queue.begin('read', 1, file.fd, BLOCKS * BLOCK - 100, BLOCK);
  queue.begin('read', 2, 1_000_000, 0, BLOCK);
  while (results.size < 3) queue.wait((slot, result) => results.set(slot, result), SLOTS);
  assert.deepEqual(Object.fromEntries(results), { 0: 0, 1: 100, 2: -EBADF });
});

test('openReadQueue() keeps the lock that it was given until its ring has gone, its descriptor closed or not', () => {
  using file = openFile();
  const lock = openSync(`/proc/self/fd/${file.fd}`, 'r+');
  assert.equal(syscalls.lockByte(lock, 5), 0);
  assert.ok(syscalls.openReadQueue(SLOTS, BLOCK, lock) !== null);
  closeSync(lock);
  assert.equal(syscalls.lockedWithin(file.fd, 0, 10), 5);
});

test('poll() begins what is waiting, and tells what is there without waiting for the rest', () => {
  using file = openFile();
  const queue = syscalls.openReadQueue(SLOTS, BLOCK, file.fd);
  assert.ok(queue !== null);
  const told: number[] = [];
  queue.poll((slot) => told.push(slot));
  assert.equal(told.length, 0);
  // Cached: there at once.
  queue.begin('read', 3, file.fd, 0, BLOCK);
  queue.poll((slot) => told.push(slot));
  assert.deepEqual(told, [3]);
});
