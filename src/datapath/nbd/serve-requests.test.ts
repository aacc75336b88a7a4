// The loop without a socket: bytes are fed in pieces of any size, answers are compared with a plain model of the disk.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { requestBytes } from './fixture-client.ts';
import type { RequestFields } from './fixture-client.ts';
import { serveRequests } from './serve-requests.ts';
import { clockOf } from './clock.ts';
import { COUNTERS_BYTES, makeCounters } from './counters.ts';
import { makeSharedPage, sharedPageBytes } from './shared-page.ts';
import type { Socket } from './socket.ts';
import type { VbdIo } from './vbd-io.ts';
import { CHUNK, CMD, CMD_FLAG, REQUEST_BYTES } from './wire/constants.ts';

const clock = clockOf(null);

const SIZE = 64 * 1024;

/** A disk in memory. */
function ioOn(disk: Buffer): VbdIo {
  return {
    read: (offset, buffer, at, length) => void disk.copy(buffer, at, offset, offset + length),
    write: (offset, buffer, at, length) => void buffer.copy(disk, offset, at, at + length),
    zero(offset, length) {
      disk.fill(0, offset, offset + length);
      return true;
    },
    flush: () => {},
    expect: () => {},
    placeOf: () => null,
    status: () => [],
  };
}

/** Hands the input out in pieces, and keeps what is sent. `busy`: whether the client has answers to take, each time that is asked; never, if not said. */
function feed(input: Buffer, sizes: Iterator<number>, busy?: Iterator<boolean>): { socket: Socket; sent: () => Buffer; times: () => number } {
  const sent: Buffer[] = [];
  let at = 0;
  const read = (buffer: Buffer, to: number, length: number): number => {
    assert.ok(length > 0, 'there is room for what is read');
    const size = Math.min(length, sizes.next().value ?? 1, input.length - at);
    input.copy(buffer, to, at, at + size);
    at += size;
    return size;
  };
  const socket: Socket = {
    read,
    readNow: () => 0,
    readMeanwhile: (buffer, to, length) => (busy?.next().value === true ? read(buffer, to, length) : 0),
    write: (buffer, from, length) => void sent.push(Buffer.from(buffer.subarray(from, from + length))),
  };
  return { socket, sent: () => Buffer.concat(sent), times: () => sent.length };
}

function serve(disk: Buffer, input: Buffer, sizes: Iterator<number>, streamFrom: number, busy: Iterator<boolean>): Buffer {
  const { socket, sent } = feed(input, sizes, busy);
  serveOn(socket, ioOn(disk), streamFrom);
  return sent();
}

function serveOn(socket: Socket, io: VbdIo, streamFrom: number, by = clock): void {
  const page = makeSharedPage(new ArrayBuffer(sharedPageBytes(1)), 1);
  const counters = makeCounters(new ArrayBuffer(COUNTERS_BYTES), 0);
  const served = { sizeBytes: SIZE, readOnly: false, minimumBytes: 1, contexts: false };
  serveRequests(
    { socket, io, ahead: null, streamFrom, gatherBytes: 0, partBytes: 4096, page, counters, clock: by, served, structured: false, contexts: [] },
    new Uint8Array(0),
  );
}

const request = fc.record({
  type: fc.constantFrom(CMD.READ, CMD.WRITE, CMD.WRITE_ZEROES, CMD.FLUSH, CMD.TRIM),
  offset: fc.nat(SIZE),
  length: fc.nat(SIZE / 2),
  value: fc.nat(255),
});
/** Whether long writes are written as they come in. */
const streamFroms = fc.constantFrom(Infinity, 1000);
const sizes = fc.infiniteStream(fc.integer({ min: 1, max: 40_000 }));
const busy = fc.infiniteStream(fc.boolean());

/** What a server must answer, by the plainest means. */
function expected(disk: Buffer, { type, offset, length, cookie }: Required<Omit<RequestFields, 'flags'>>, value: number): Buffer {
  const write = type === CMD.WRITE || type === CMD.WRITE_ZEROES;
  const error = type === CMD.FLUSH ? 0 : length === 0 ? 22 : offset + length > SIZE ? (write ? 28 : 22) : 0;
  const head = Buffer.alloc(16);
  head.writeUInt32BE(0x67446698);
  head.writeUInt32BE(error, 4);
  head.writeBigUInt64BE(BigInt(cookie), 8);
  if (error !== 0) return head;
  if (type === CMD.WRITE) disk.fill(value, offset, offset + length);
  if (type === CMD.WRITE_ZEROES || type === CMD.TRIM) disk.fill(0, offset, offset + length);
  return type === CMD.READ ? Buffer.concat([head, disk.subarray(offset, offset + length)]) : head;
}

test('however requests are cut into pieces, each is answered once, in order, as a plain disk would', () => {
  fc.assert(
    fc.property(fc.array(request, { maxLength: 40 }), sizes, streamFroms, busy, (requests, pieces, streamFrom, hasToTake) => {
      const [disk, model] = [Buffer.alloc(SIZE, 1), Buffer.alloc(SIZE, 1)];
      const input = requests.flatMap(({ type, offset, length, value }, cookie) => [
        requestBytes({ type, offset, length, cookie }),
        type === CMD.WRITE ? Buffer.alloc(length, value) : Buffer.alloc(0),
      ]);
      const answers = serve(disk, Buffer.concat([...input, requestBytes({ type: CMD.DISC })]), pieces, streamFrom, hasToTake);
      const wanted = requests.map(({ value, ...fields }, cookie) => Buffer.from(expected(model, { ...fields, cookie }, value)));
      assert.ok(answers.equals(Buffer.concat(wanted)), 'the answers are those of the model');
      assert.ok(disk.equals(model), 'the disk is that of the model');
    }),
    { numRuns: 200 },
  );
});

test('bytes that are no requests end the loop: no exception, and no more answered than was asked', () => {
  const noise = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.tuple(request, fc.uint8Array({ maxLength: 100 })).map(([fields, tail]) => Buffer.concat([requestBytes(fields), tail])),
  );
  fc.assert(
    fc.property(fc.array(noise, { maxLength: 10 }), sizes, streamFroms, busy, (parts, pieces, streamFrom, hasToTake) => {
      const input = Buffer.concat(parts);
      assert.ok(serve(Buffer.alloc(SIZE), input, pieces, streamFrom, hasToTake).length <= (input.length / 28) * (SIZE + 16));
    }),
    { numRuns: 500 },
  );
});

test('what comes while the client has answers to take is answered with what came before, and all leaves when it has none', () => {
  const reads = Array.from({ length: 5 }, (_, cookie) => requestBytes({ type: CMD.READ, offset: 0, length: 512, cookie }));
  const input = Buffer.concat([...reads, requestBytes({ type: CMD.DISC })]);
  const oneByOne = Array.from({ length: 6 }, () => REQUEST_BYTES);
  const { socket, sent, times } = feed(input, oneByOne[Symbol.iterator](), [true, true, false, true, false][Symbol.iterator]());
  serveOn(socket, ioOn(Buffer.alloc(SIZE)), Infinity);
  assert.equal(sent().length, 5 * (16 + 512));
  assert.equal(times(), 2, 'three answers, then two');
});

test('the socket is told of each request that waited for its device, and whether it was a read', () => {
  const requests = [
    requestBytes({ type: CMD.READ, offset: 0, length: 512, cookie: 1 }),
    requestBytes({ type: CMD.WRITE, offset: 0, length: 1, cookie: 2 }),
    Buffer.alloc(1),
    requestBytes({ type: CMD.FLUSH, cookie: 3 }),
    requestBytes({ type: CMD.DISC }),
  ];
  const waited: boolean[] = [];
  let now = 0;
  const served = (stepUs: number): readonly boolean[] => {
    waited.length = 0;
    const { socket } = feed(Buffer.concat(requests), [1000][Symbol.iterator]());
    serveOn({ ...socket, waited: (read) => void waited.push(read) }, ioOn(Buffer.alloc(SIZE)), Infinity, () => (now += stepUs));
    return waited;
  };
  assert.deepEqual(served(400), [true, false, false]);
  assert.deepEqual(served(1), []);
});

test('what is answered leaves before a flush is waited for', () => {
  const { socket, times } = feed(
    Buffer.concat([
      requestBytes({ type: CMD.READ, offset: 0, length: 512, cookie: 1 }),
      requestBytes({ type: CMD.FLUSH, cookie: 2 }),
      requestBytes({ type: CMD.READ, offset: 0, length: 512, cookie: 3 }),
      requestBytes({ type: CMD.WRITE, flags: CMD_FLAG.FUA, offset: 0, length: 1, cookie: 4 }),
      Buffer.alloc(1),
      requestBytes({ type: CMD.DISC }),
    ]),
    [1000][Symbol.iterator](),
  );
  const left: number[] = [];
  const io = { ...ioOn(Buffer.alloc(SIZE)), flush: () => void left.push(times()) };
  serveOn(socket, io, Infinity);
  assert.deepEqual(left, [1, 2], 'the read before the flush, and flush and read before the write that flushes');
});

test('a long write that fails half-way is read to its end and answered once; what comes behind it is served', () => {
  const disk = Buffer.alloc(SIZE, 1);
  let left = 2;
  const io: VbdIo = {
    ...ioOn(disk),
    write(offset, buffer, at, length) {
      if (left === 0) throw Object.assign(new Error('the device fails'), { code: 'EIO' });
      left -= 1;
      buffer.copy(disk, offset, at, at + length);
    },
  };
  const long = requestBytes({ type: CMD.WRITE, offset: 0, length: 40_000, cookie: 1 });
  const refused = requestBytes({ type: CMD.WRITE, offset: SIZE - 4096, length: 40_000, cookie: 2 });
  const input = Buffer.concat([
    long,
    Buffer.alloc(40_000, 7),
    refused,
    Buffer.alloc(40_000, 8),
    requestBytes({ type: CMD.READ, offset: 0, length: 16, cookie: 3 }),
  ]);
  const { socket, sent } = feed(input, fc.sample(fc.constant(5000), 1000)[Symbol.iterator]());
  serveOn(socket, io, 1000);
  const answers = sent();
  assert.deepEqual([answers.readUInt32BE(4), answers.readUInt32BE(16 + 4), answers.readUInt32BE(32 + 4)], [5, 28, 0]);
  assert.deepEqual(
    [...answers.subarray(48)],
    Array.from({ length: 16 }, () => 7),
    'what was written before the failure is there',
  );
});

test('a long read is answered in parts, unless the client wants one piece; an error in the middle is told behind them', () => {
  const disk = Buffer.from(Array.from({ length: SIZE }, (_, index) => index % 251));
  const io = ioOn(disk);
  const failing: VbdIo = { ...io, read: (offset, ...rest) => (offset < 8192 ? io.read(offset, ...rest) : assert.fail('a bad sector')) };
  const answersOf = (on: VbdIo, flags: number): { type: number; done: number; body: Buffer }[] => {
    const input = Buffer.concat([requestBytes({ type: CMD.READ, flags, length: 10_000 }), requestBytes({ type: CMD.DISC })]);
    const { socket, sent } = feed(input, [].values());
    const page = makeSharedPage(new ArrayBuffer(sharedPageBytes(1)), 1);
    const counters = makeCounters(new ArrayBuffer(COUNTERS_BYTES), 0);
    const served = { sizeBytes: SIZE, readOnly: false, minimumBytes: 1, contexts: false };
    serveRequests(
      { socket, io: on, ahead: null, streamFrom: 1000, gatherBytes: 0, partBytes: 4096, page, counters, clock, served, structured: true, contexts: [] },
      new Uint8Array(0),
    );
    const chunks = [];
    for (let rest = sent(); rest.length > 0;) {
      const length = rest.readUInt32BE(16);
      chunks.push({ type: rest.readUInt16BE(6), done: rest.readUInt16BE(4), body: rest.subarray(20, 20 + length) });
      rest = rest.subarray(20 + length);
    }
    return chunks;
  };
  const parts = answersOf(io, 0);
  assert.deepEqual(
    parts.map(({ done, body }) => [done, Number(body.readBigUInt64BE(0)), body.length - 8]),
    [
      [0, 0, 4096],
      [0, 4096, 4096],
      [1, 8192, 1808],
    ],
  );
  assert.ok(Buffer.concat(parts.map(({ body }) => body.subarray(8))).equals(disk.subarray(0, 10_000)));
  assert.equal(answersOf(io, CMD_FLAG.DF).length, 1);
  assert.deepEqual(
    answersOf(failing, 0).map(({ type, done }) => [type, done]),
    [
      [CHUNK.OFFSET_DATA, 0],
      [CHUNK.OFFSET_DATA, 0],
      [CHUNK.ERROR, 1],
    ],
  );
});

test('a write that is gathered is written in parts of that size, its end in what is left', () => {
  const written: [number, number][] = [];
  const disk = Buffer.alloc(SIZE);
  const io: VbdIo = {
    ...ioOn(disk),
    write(offset, buffer, at, length) {
      written.push([offset, length]);
      buffer.copy(disk, offset, at, at + length);
    },
  };
  const data = Buffer.from(Array.from({ length: 30_208 }, (_, index) => index % 241));
  const { socket } = feed(
    Buffer.concat([requestBytes({ type: CMD.WRITE, offset: 512, length: data.length }), data, requestBytes({ type: CMD.DISC })]),
    [5000, 700, 9000].values(),
  );
  const page = makeSharedPage(new ArrayBuffer(sharedPageBytes(1)), 1);
  const counters = makeCounters(new ArrayBuffer(COUNTERS_BYTES), 0);
  const served = { sizeBytes: SIZE, readOnly: false, minimumBytes: 512, contexts: false };
  serveRequests(
    { socket, io, ahead: null, streamFrom: 4096, gatherBytes: 8192, partBytes: 4096, page, counters, clock, served, structured: false, contexts: [] },
    new Uint8Array(0),
  );
  assert.ok(disk.subarray(512, 512 + data.length).equals(data));
  assert.ok(written.slice(0, -1).every(([offset, length]) => length >= 8192 && (offset + length) % 4096 === 0));
});
