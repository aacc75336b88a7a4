import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openSyscalls } from '../../host/syscalls.ts';
import { COUNTERS_BYTES, countersOf, makeCounters, openCounters } from './counters.ts';
import { requestsOf } from './read-counters.ts';

test('latencies are counted by kind in powers of two of a microsecond', () => {
  const memory = new ArrayBuffer(COUNTERS_BYTES);
  const counters = makeCounters(memory, 1);
  for (const us of [0, 0, 1, 1, 100, 3_600_000_000]) counters.took('read', us);
  counters.took('flush', 1000);
  counters.count('reads', 6);
  const { reads, latencies } = countersOf(new Uint8Array(memory));
  assert.equal(reads, 6);
  const filled = (kind: string): [number, number][] => (latencies[kind] ?? []).flatMap((count, bucket) => (count === 0 ? [] : [[bucket, count]]));
  assert.deepEqual(filled('read'), [
    [0, 2],
    [1, 2],
    [7, 1],
    [23, 1],
  ]);
  assert.deepEqual(filled('flush'), [[10, 1]]);
  assert.deepEqual(filled('write'), []);
});

test('each connection counts in a slot of its own, the next goes on where the last one left it, and when all are taken nothing is spoilt', () => {
  const syscalls = openSyscalls();
  assert.ok(syscalls !== null);
  const folder = mkdtempSync(join(tmpdir(), 'xvd-counters-'));
  const path = join(folder, 'counters');
  writeFileSync(path, new Uint8Array(COUNTERS_BYTES));
  const other = openSync(path, 'r+');
  const readBytes = (): number => countersOf(new Uint8Array(readFileSync(path))).readBytes;
  try {
    assert.equal(syscalls.lockByte(other, 0), 0);
    const [first, second] = [openCounters(path, syscalls), openCounters(path, syscalls)];
    first.count('readBytes', 2 ** 40);
    second.count('readBytes', 512);
    first.count('readBytes', 512);
    assert.equal(readBytes(), 2 ** 40 + 1024);
    assert.equal(new Float64Array(new Uint8Array(readFileSync(path)).buffer, 0, 8)[2], 0, 'slot 0 is of somebody else');
    const many = Array.from({ length: 30 }, () => openCounters(path, syscalls));
    for (const counters of many) counters.count('readBytes', 1);
    const taken = readBytes() - (2 ** 40 + 1024);
    assert.ok(taken >= 10 && taken < 30, `${taken} found a slot`);
    closeSync(other);
    openCounters(path, syscalls).count('readBytes', 1000);
    assert.equal(readBytes(), 2 ** 40 + 1024 + taken + 1000);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('reads, writes and flushes of all slots are requests; a file that is not there has none, and one that cannot be read is busy', () => {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-counters-'));
  const path = join(folder, 'counters');
  try {
    assert.equal(requestsOf(path), 0);
    const memory = new ArrayBuffer(COUNTERS_BYTES);
    for (const [slot, counter, by] of [
      [0, 'reads', 1],
      [2, 'writes', 10],
      [18, 'flushes', 100],
      [18, 'readBytes', 4096],
      [0, 'errors', 7],
    ] as const)
      makeCounters(memory, slot).count(counter, by);
    makeCounters(memory, 3).took('read', 5);
    writeFileSync(path, new Uint8Array(memory));
    assert.equal(requestsOf(path), 111);
    writeFileSync(path, new Uint8Array(memory).subarray(0, 20));
    assert.equal(requestsOf(path), 1, 'what is not there any more is not what another file had');
    assert.equal(requestsOf(folder), Infinity);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
