// Requests and replies of the transmission phase: plain reads and writes of bytes in buffers that the loop owns.
// A request is validated here, once, at the edge; what passes lies inside the VBD.

import { limits } from '../../../base/limits.ts';
import {
  CHUNK,
  CHUNK_DONE,
  CMD,
  CMD_FLAG,
  NBD_ERROR,
  REQUEST_MAGIC,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_HEADER_BYTES,
  STRUCTURED_REPLY_MAGIC,
} from './constants.ts';
import { copyCookie, get16, get32, put16, put32 } from './bytes.ts';

export type Request = {
  readonly type: number;
  readonly flags: number;
  /** Where its eight bytes of cookie lie in the input: they are only ever copied. */
  readonly cookieAt: number;
  readonly offset: number;
  readonly length: number;
};

/** What a loop reads one request after the other into: a new object each would be garbage to collect. */
export type RequestPlace = { -readonly [Field in keyof Request]: Request[Field] };

/** An offset is a floating-point number to V8 from the first: an object whose fields change their kind becomes one of another kind, and all that was learnt of it is void. */
export const requestPlace = (): RequestPlace => ({ type: 0, flags: 0, cookieAt: 0, offset: Number.NaN, length: 0 });

/** false: not a request, and nothing after it can be trusted. There must be REQUEST_BYTES bytes. */
export function parseRequest(input: Uint8Array, at: number, into: RequestPlace): boolean {
  if (get32(input, at) !== REQUEST_MAGIC) return false;
  into.flags = get16(input, at + 4);
  into.type = get16(input, at + 6);
  into.cookieAt = at + 8;
  into.offset = get32(input, at + 16) * 0x1_0000_0000 + get32(input, at + 20);
  into.length = get32(input, at + 24);
  return true;
}

export type Served = {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** A power of two. */ readonly minimumBytes: number;
  /** Whether the client has chosen contexts for BLOCK_STATUS. */ readonly contexts: boolean;
};

const ALLOWED_FLAGS: Readonly<Record<number, number>> = {
  [CMD.READ]: CMD_FLAG.DF | CMD_FLAG.FUA,
  [CMD.WRITE]: CMD_FLAG.FUA,
  [CMD.FLUSH]: CMD_FLAG.FUA,
  [CMD.TRIM]: CMD_FLAG.FUA,
  [CMD.CACHE]: CMD_FLAG.FUA,
  [CMD.BLOCK_STATUS]: CMD_FLAG.FUA | CMD_FLAG.REQ_ONE,
  [CMD.WRITE_ZEROES]: CMD_FLAG.FUA | CMD_FLAG.NO_HOLE | CMD_FLAG.FAST_ZERO,
};

const WRITES: ReadonlySet<number> = new Set([CMD.WRITE, CMD.TRIM, CMD.WRITE_ZEROES]);

/** 0, or the protocol's error for the request. DISC has none. */
export function refusalOf(request: Request, served: Served): number {
  const { type, flags, offset, length } = request;
  const allowed = ALLOWED_FLAGS[type];
  if (allowed === undefined || (flags & ~allowed) !== 0) return NBD_ERROR.EINVAL;
  if (WRITES.has(type) && served.readOnly) return NBD_ERROR.EPERM;
  if (type === CMD.BLOCK_STATUS && !served.contexts) return NBD_ERROR.EINVAL;
  if (type === CMD.FLUSH) return 0;
  // By their low bits: the rest of a division of two floating-point numbers is slow.
  if (length === 0 || ((offset | length) & (served.minimumBytes - 1)) !== 0) return NBD_ERROR.EINVAL;
  const data = type === CMD.READ || type === CMD.WRITE;
  if (data && length > limits.nbdRequestBytes) return NBD_ERROR.EINVAL;
  // Past the end: no space for writes, an invalid place for the rest.
  if (offset + length > served.sizeBytes) return type === CMD.WRITE || type === CMD.WRITE_ZEROES ? NBD_ERROR.ENOSPC : NBD_ERROR.EINVAL;
  return 0;
}

/** Writes the 16 bytes in front of the data. */
export function putSimpleReply(output: Buffer, at: number, input: Buffer, cookieAt: number, error: number): number {
  put32(output, at, SIMPLE_REPLY_MAGIC);
  put32(output, at + 4, error);
  copyCookie(input, cookieAt, output, at + 8);
  return at + SIMPLE_REPLY_BYTES;
}

function putChunk(output: Buffer, at: number, input: Buffer, cookieAt: number, type: number, length: number, done: number = CHUNK_DONE): number {
  put32(output, at, STRUCTURED_REPLY_MAGIC);
  put16(output, at + 4, done);
  put16(output, at + 6, type);
  copyCookie(input, cookieAt, output, at + 8);
  put32(output, at + 16, length);
  return at + STRUCTURED_HEADER_BYTES;
}

/** What stands before the data of such a chunk. */
export const DATA_CHUNK_BYTES = STRUCTURED_HEADER_BYTES + 8;

/** Data of a read, or of a part of it; the data itself follows. `last`: it ends the answer. */
export function putDataChunk(output: Buffer, at: number, input: Buffer, request: Request, last: boolean): number {
  const next = putChunk(output, at, input, request.cookieAt, CHUNK.OFFSET_DATA, 8 + request.length, last ? CHUNK_DONE : 0);
  put32(output, next, Math.floor(request.offset / 0x1_0000_0000));
  put32(output, next + 4, request.offset);
  return next + 8;
}

export function putNoneChunk(output: Buffer, at: number, input: Buffer, cookieAt: number): number {
  return putChunk(output, at, input, cookieAt, CHUNK.NONE, 0);
}

export function putErrorChunk(output: Buffer, at: number, input: Buffer, cookieAt: number, error: number): number {
  const next = putChunk(output, at, input, cookieAt, CHUNK.ERROR, 6);
  put32(output, next, error);
  put16(output, next + 4, 0);
  return next + 6;
}

export const statusChunkBytes = (pairs: readonly number[]): number => STRUCTURED_HEADER_BYTES + 4 + 4 * pairs.length;

/** One chunk a context: lengths and flags by turns. */
export function putStatusChunk(
  output: Buffer,
  at: number,
  input: Buffer,
  cookieAt: number,
  chunk: { readonly contextId: number; readonly pairs: readonly number[]; readonly last: boolean },
): number {
  let next = putChunk(output, at, input, cookieAt, CHUNK.BLOCK_STATUS, 4 + 4 * chunk.pairs.length, chunk.last ? CHUNK_DONE : 0);
  put32(output, next, chunk.contextId);
  for (const value of chunk.pairs) put32(output, (next += 4), value);
  return next + 4;
}
