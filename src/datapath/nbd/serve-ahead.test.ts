// When reads go ahead of their turn: while they wait for the device, and no longer. The clock is the test's own.

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { makeAheadQueue } from './ahead-queue.ts';
import { countersForNobody } from './counters.ts';
import { requestBytes } from './fixture-client.ts';
import { serveRequests } from './serve-requests.ts';
import { makeSharedPage, sharedPageBytes } from './shared-page.ts';
import type { VbdIo } from './vbd-io.ts';
import { CMD } from './wire/constants.ts';

const BLOCK = 4096;
/** Data of so much leaves from where it was read. */
const LONG = 64 * 1024;
/** From one block to the next. */
const STEP = LONG;
const BLOCKS = 256;
/** Of an answer, before its data. */
const HEAD_BYTES = 16;
/** Requests that the device ends together, where there are so many. */
const AT_ONCE = 3;

/** A disk whose block n is full of n, and the device below it: slow or not. So much is read of each block. */
function openDisk(lengthOf: (block: number) => number = () => BLOCK) {
  const waitedFor: number[] = [];
  const begun: number[] = [];
  const inFlight: { readonly slot: number; readonly length: number }[] = [];
  const inFlightAtFlush: number[] = [];
  const toldTogether: number[] = [];
  let slow = true;
  let nowUs = 0;
  const io: VbdIo = {
    read(offset, buffer, at, length) {
      nowUs += slow ? 1000 : 1;
      waitedFor.push(offset / STEP);
      buffer.fill(offset / STEP, at, at + length);
    },
    write: () => {},
    zero: () => true,
    flush: () => void inFlightAtFlush.push(inFlight.length),
    expect: () => {},
    placeOf: (offset) => ({ fd: 0, offset, segment: 0 }),
    status: () => [],
  };
  const memory = new Uint8Array(32 * LONG);
  const queue = {
    memory,
    begin(_kind: 'read' | 'write', slot: number, _fd: number, offset: number, length: number) {
      begun.push(offset / STEP);
      memory.fill(offset / STEP, slot * LONG, slot * LONG + length);
      inFlight.push({ slot, length });
      return 0;
    },
    poll: () => {},
    /** The last is ready first. */
    wait(finished: (slot: number, result: number, late: boolean) => void, most: number) {
      assert.ok(inFlight.length > 0, 'something is in flight');
      const ended = inFlight.splice(-Math.min(AT_ONCE, most)).toReversed();
      toldTogether.push(ended.length);
      for (const { slot, length } of ended) finished(slot, length, slow);
    },
  };
  const openAhead = mock.fn(() => makeAheadQueue({ queue, slotBytes: LONG, writes: false, placeOf: io.placeOf }));
  return {
    lengthOf,
    io,
    openAhead,
    memory,
    waitedFor,
    begun,
    inFlightAtFlush,
    toldTogether,
    now: { clock: () => nowUs, setSlow: (is: boolean) => void (slow = is) },
  };
}

type Batch = { readonly slow: boolean; readonly blocks: readonly number[]; readonly flush?: true };
type Disk = ReturnType<typeof openDisk>;
type Write = (buffer: Buffer, at: number, length: number) => void;

function serve({ lengthOf, io, openAhead, now }: Disk, batches: readonly Batch[], write: Write): void {
  const left = [...batches];
  let cookie = 0;
  const page = makeSharedPage(new ArrayBuffer(sharedPageBytes(1)), 1);
  const socket = {
    read(buffer: Buffer, at: number) {
      const batch = left.shift();
      if (batch === undefined) return 0;
      now.setSlow(batch.slow);
      const reads = batch.blocks.map((block) => requestBytes({ type: CMD.READ, offset: block * STEP, length: lengthOf(block), cookie: cookie++ }));
      return Buffer.concat([...reads, ...(batch.flush === true ? [requestBytes({ type: CMD.FLUSH })] : [])]).copy(buffer, at);
    },
    readNow: () => 0,
    write,
  };
  const served = { sizeBytes: BLOCKS * STEP, readOnly: true, minimumBytes: 1, contexts: false };
  const limits = { streamFrom: Infinity, gatherBytes: 0, partBytes: Infinity };
  serveRequests(
    { socket, io, ahead: null, openAhead, ...limits, page, counters: countersForNobody(), clock: now.clock, served, structured: false, contexts: [] },
    new Uint8Array(0),
  );
}

/** What each batch of requests, told at once, is answered: the block of each cookie. */
function serveBatches(disk: Disk, batches: readonly Batch[]): ReadonlyMap<number, number> {
  const answers: Buffer[] = [];
  serve(disk, batches, (buffer, at, length) => void answers.push(Buffer.from(buffer.subarray(at, at + length))));
  const asked = batches.flatMap(({ blocks }) => blocks);
  const all = Buffer.concat(answers);
  const told = new Map<number, number>();
  for (let at = 0; told.size < asked.length;) {
    const cookie = Number(all.readBigUInt64BE(at + 8));
    const data = all.subarray(at + HEAD_BYTES, at + HEAD_BYTES + disk.lengthOf(asked[cookie] ?? assert.fail(`cookie ${cookie} was told`)));
    assert.ok(data.equals(Buffer.alloc(data.length, data[0])));
    told.set(cookie, data[0] ?? -1);
    at += HEAD_BYTES + data.length;
  }
  return told;
}

const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, index) => from + index);

test('reads are begun ahead while the device is slow, each is answered with its own block, and none when it is not', () => {
  const disk = openDisk();
  const batches = [
    { slow: true, blocks: range(0, 40) },
    { slow: false, blocks: range(40, 100) },
    { slow: false, blocks: range(140, 20) },
  ];
  const told = serveBatches(disk, batches);
  assert.deepEqual(
    [...told].toSorted(([a], [b]) => a - b),
    range(0, 160).map((block) => [block, block]),
  );
  // Three slow reads were waited for; those behind them were begun, and answered the last one first.
  assert.deepEqual(disk.waitedFor.slice(0, 3), [0, 1, 2]);
  assert.deepEqual(disk.begun.slice(0, 37), range(3, 37));
  assert.equal([...told.keys()][3], 34, 'of 32 in flight the last one was ready first');
  assert.equal(disk.openAhead.mock.callCount(), 1);
  assert.ok(disk.toldTogether.includes(AT_ONCE), 'short ones are answered together');
  // By the last batch all came at once.
  assert.deepEqual(disk.waitedFor.slice(-20), range(140, 20));
});

const longOrShort = (block: number): number => (block % 3 === 0 ? BLOCK : LONG);

test('long reads are answered from where they were read, each behind its own head, with short ones among them', () => {
  const disk = openDisk(longOrShort);
  const told = serveBatches(disk, [{ slow: true, blocks: range(0, 60) }]);
  assert.deepEqual(
    [...told].toSorted(([a], [b]) => a - b),
    range(0, 60).map((block) => [block, block]),
  );
  assert.ok(disk.begun.length > 50);
});

test('of long reads that have ended one is answered, and what has come meanwhile is begun before the next', () => {
  const disk = openDisk(() => LONG);
  assert.equal(serveBatches(disk, [{ slow: true, blocks: range(0, 60) }]).size, 60);
  assert.deepEqual([...new Set(disk.toldTogether)], [1]);
});

test('what was read for a long answer is written from its slot, and a client that leaves between its head and its data ends the connection', () => {
  const disk = openDisk(longOrShort);
  const fromSlots: number[] = [];
  const leave: Write = (buffer, _at, length) => {
    if (buffer.buffer !== disk.memory.buffer) return;
    fromSlots.push(length);
    if (fromSlots.length === 2) throw Object.assign(new Error('EPIPE'), { code: 'EPIPE' });
  };
  assert.throws(() => serve(disk, [{ slow: true, blocks: range(0, 60) }], leave), /the client is gone/);
  assert.deepEqual(fromSlots, [LONG, LONG]);
});

test('reads that are never slow open no queue', () => {
  const disk = openDisk();
  serveBatches(disk, [{ slow: false, blocks: range(0, 100) }]);
  assert.equal(disk.openAhead.mock.callCount(), 0);
  assert.equal(disk.begun.length, 0);
});

test('reads that were begun are answered before a flush, which may take long', () => {
  const disk = openDisk();
  const told = serveBatches(disk, [{ slow: true, blocks: range(0, 20), flush: true }]);
  assert.equal(told.size, 20);
  assert.deepEqual(disk.inFlightAtFlush, [0]);
});
