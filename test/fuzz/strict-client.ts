// The fuzzer's oracle: a client that knows the protocol by itself, reads every answer byte by byte, and keeps the disk as plain
// bytes. Whatever was sent, each answer must be the one answer that the protocol allows, in full, with the request's own cookie.

import assert from 'node:assert/strict';

const GREETING = 18;
const MAX_PAYLOAD = 32 * 1024 * 1024;
const MAX_OPTION = 64 * 1024;
/** What a long read is answered in, where the client has not asked for one piece. */
export const PART_BYTES = 4096;
const PROTECTED = new Set([1, 4, 6]);
/** By command: the flags that it may have. */
const FLAGS = [5, 1, 0, 1, 1, 1, 19, 9];

export type Agreed = { readonly structured: boolean; readonly contexts: readonly string[]; readonly usedBytes: number };

/** Takes numbers off the front. */
class Reader {
  at = 0;
  readonly bytes: Buffer;
  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }
  get left(): number {
    return this.bytes.length - this.at;
  }
  number(size: 2 | 4): number {
    this.at += size;
    return this.bytes.readUIntBE(this.at - size, size);
  }
  take(length: number): Buffer {
    assert.ok(this.left >= length, `an answer is cut off: ${this.left} of ${length} bytes`);
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
}

/** Replies to each option in turn; what the client has then agreed with the server is found out from them alone. */
export function checkHandshake(sent: Buffer, answers: Buffer, contextsOffered: readonly string[]): Agreed | null {
  const replies = new Reader(answers);
  assert.equal(replies.take(GREETING).toString('latin1', 0, 16), 'NBDMAGICIHAVEOPT');
  const over = (): null => {
    assert.equal(replies.left, 0, 'bytes that nobody asked for');
    return null;
  };
  if (sent.length < 4 || sent.readUInt32BE(0) > 3) return over();
  const noZeroes = (sent.readUInt32BE(0) & 2) !== 0;
  let structured = false;
  let contexts: readonly string[] = [];
  for (let at = 4; at + 16 <= sent.length;) {
    if (sent.toString('latin1', at, at + 8) !== 'IHAVEOPT') return over();
    const [option, length] = [sent.readUInt32BE(at + 8), sent.readUInt32BE(at + 12)];
    if (length <= MAX_OPTION && at + 16 + length > sent.length) return over();
    at += 16 + length;
    if (option === 1 && length <= MAX_OPTION) {
      if (replies.left === 0) return null;
      replies.take(noZeroes ? 10 : 134);
      return { structured, contexts, usedBytes: at };
    }
    const { type, names } = takeReplies(replies, option);
    if (length > MAX_OPTION || option === 2) return over();
    if (option === 8 && type === 1) structured = true;
    if (option === 10) contexts = type === 1 ? names : [];
    assert.ok(names.every((name) => contextsOffered.includes(name)) && new Set(names).size === names.length);
    if (option === 7 && type === 1) return { structured, contexts, usedBytes: at };
  }
  return over();
}

/** To the last reply of one option. */
function takeReplies(replies: Reader, option: number): { type: number; names: string[] } {
  const names: string[] = [];
  for (;;) {
    assert.equal(replies.take(8).toString('hex'), '0003e889045565a9');
    assert.equal(replies.number(4), option, 'the reply is to the option that was sent');
    const type = replies.number(4);
    const data = replies.take(replies.number(4));
    if (type === 4) names.push(data.toString('utf8', 4));
    if (type === 4 && option === 10) assert.equal(data.readUInt32BE(0), names.length, 'contexts have ids in their order');
    if (type === 1 || type > 0x8000_0000) return { type, names };
    assert.ok(type === 2 || type === 3 || type === 4, `reply ${type}`);
  }
}

export type Disk = { readonly bytes: Buffer; readonly readOnly: boolean };

/** A write that was cut off, and not answered: any part of it may be there. */
export type CutOff = { readonly offset: number; readonly data: Buffer } | null;

/** Every request in turn, up to the one that ends the connection. */
export function checkRequests(sent: Buffer, answers: Buffer, { structured, contexts }: Agreed, disk: Disk): CutOff {
  const replies = new Reader(answers);
  for (let at = 0; at + 28 <= sent.length;) {
    if (sent.readUInt32BE(at) !== 0x25609513) break;
    const [flags, type, length] = [sent.readUInt16BE(at + 4), sent.readUInt16BE(at + 6), sent.readUInt32BE(at + 24)];
    const cookie = sent.subarray(at + 8, at + 16);
    const offset = Number(sent.readBigUInt64BE(at + 16));
    const payload = type === 1 ? length : 0;
    const error = errorOf({ type, flags, offset, length }, disk, contexts.length > 0);
    if (type === 2 || payload > MAX_PAYLOAD) break;
    if (at + 28 + payload > sent.length) {
      assert.equal(replies.left, 0, 'bytes that nobody asked for');
      return error === 0 ? { offset, data: sent.subarray(at + 28) } : null;
    }
    at += 28 + payload;
    if (error !== 0 || type !== 7)
      takeAnswer(replies, structured, {
        cookie,
        error,
        data: error === 0 ? effect(disk, type, offset, sent.subarray(at - payload, at), length) : null,
        offset,
        whole: (flags & 4) !== 0,
      });
    else for (let id = 1; id <= contexts.length; id += 1) takeStatus(replies, cookie, { id, last: id === contexts.length, one: (flags & 8) !== 0, length });
  }
  assert.equal(replies.left, 0, 'bytes that nobody asked for');
  return null;
}

type Asked = { readonly type: number; readonly flags: number; readonly offset: number; readonly length: number };

function errorOf({ type, flags, offset, length }: Asked, { bytes, readOnly }: Disk, hasContexts: boolean): number {
  if (type > 7 || (flags & ~(FLAGS[type] ?? 0)) !== 0) return 22;
  if (PROTECTED.has(type) && readOnly) return 1;
  if (type === 3) return 0;
  if ((type === 7 && !hasContexts) || length === 0 || (type < 2 && length > MAX_PAYLOAD)) return 22;
  if (offset + length <= bytes.length) return 0;
  return type === 1 || type === 6 ? 28 : 22;
}

/** What the request does to the plain bytes; the data of a read. */
function effect({ bytes }: Disk, type: number, offset: number, payload: Buffer, length: number): Buffer | null {
  if (type === 0) return bytes.subarray(offset, offset + length);
  if (type === 1) payload.copy(bytes, offset);
  if (type === 4 || type === 6) bytes.fill(0, offset, offset + length);
  return null;
}

type Answer = { readonly cookie: Buffer; readonly error: number; readonly data: Buffer | null; readonly offset: number; readonly whole: boolean };

function takeAnswer(replies: Reader, structured: boolean, { cookie, error, data, offset, whole }: Answer): void {
  if (!structured) {
    assert.equal(replies.number(4), 0x67446698);
    assert.equal(replies.number(4), error);
    assert.ok(replies.take(8).equals(cookie), 'the cookie is that of the request');
    if (data !== null) assert.ok(replies.take(data.length).equals(data), 'the data is that of the disk');
    return;
  }
  if (error === 0 && data !== null) return takeParts(replies, cookie, data, offset, whole ? data.length : PART_BYTES);
  const { type, body } = takeChunk(replies, cookie, true);
  if (error !== 0) assert.deepEqual([type, body.readUInt32BE(0), body.readUInt16BE(4), body.length], [0x8001, error, 0, 6]);
  else assert.deepEqual([type, body.length], [0, 0]);
}

/** One chunk, or where that is long several, in order and without a gap. */
function takeParts(replies: Reader, cookie: Buffer, data: Buffer, offset: number, most: number): void {
  for (let done = 0; done < data.length;) {
    const length = Math.min(most, data.length - done);
    const { type, body } = takeChunk(replies, cookie, done + length === data.length);
    assert.deepEqual([type, Number(body.readBigUInt64BE(0)), body.length - 8], [1, offset + done, length]);
    assert.ok(body.subarray(8).equals(data.subarray(done, done + length)), 'the data is that of the disk');
    done += length;
  }
}

function takeChunk(replies: Reader, cookie: Buffer, last: boolean): { type: number; body: Buffer } {
  assert.equal(replies.number(4), 0x668e33ef);
  assert.equal(replies.number(2), last ? 1 : 0);
  const type = replies.number(2);
  assert.ok(replies.take(8).equals(cookie), 'the cookie is that of the request');
  return { type, body: replies.take(replies.number(4)) };
}

/** Of at least one byte, of no more than was asked, and without two neighbours that are one. */
function takeStatus(replies: Reader, cookie: Buffer, { id, last, one, length }: { id: number; last: boolean; one: boolean; length: number }): void {
  const { type, body } = takeChunk(replies, cookie, last);
  assert.deepEqual([type, body.readUInt32BE(0), (body.length - 4) % 8], [5, id, 0]);
  const extents = (body.length - 4) / 8;
  assert.ok(extents > 0 && (!one || extents === 1), `${extents} extents`);
  let told = 0;
  for (let index = 0; index < extents; index += 1) {
    const size = body.readUInt32BE(4 + 8 * index);
    assert.ok(size > 0, 'an extent has bytes');
    told += size;
  }
  assert.ok(told <= length, `${told} of ${length} bytes told`);
}
