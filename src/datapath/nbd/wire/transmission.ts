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

export type Request = {
  readonly type: number;
  readonly flags: number;
  /** Where its eight bytes of cookie lie in the input: they are only ever copied. */
  readonly cookieAt: number;
  readonly offset: number;
  readonly length: number;
};

/** null: not a request, and nothing after it can be trusted. There must be REQUEST_BYTES bytes. */
export function parseRequest(input: Buffer, at: number): Request | null {
  if (input.readUInt32BE(at) !== REQUEST_MAGIC) return null;
  return {
    flags: input.readUInt16BE(at + 4),
    type: input.readUInt16BE(at + 6),
    cookieAt: at + 8,
    offset: input.readUInt32BE(at + 16) * 0x1_0000_0000 + input.readUInt32BE(at + 20),
    length: input.readUInt32BE(at + 24),
  };
}

export type Served = {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly minimumBytes: number;
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
  if (length === 0 || offset % served.minimumBytes !== 0 || length % served.minimumBytes !== 0) return NBD_ERROR.EINVAL;
  const data = type === CMD.READ || type === CMD.WRITE;
  if (data && length > limits.nbdRequestBytes) return NBD_ERROR.EINVAL;
  // Past the end: no space for writes, an invalid place for the rest.
  if (offset + length > served.sizeBytes) return type === CMD.WRITE || type === CMD.WRITE_ZEROES ? NBD_ERROR.ENOSPC : NBD_ERROR.EINVAL;
  return 0;
}

/** Writes the 16 bytes in front of the data. */
export function putSimpleReply(output: Buffer, at: number, input: Buffer, cookieAt: number, error: number): number {
  output.writeUInt32BE(SIMPLE_REPLY_MAGIC, at);
  output.writeUInt32BE(error, at + 4);
  input.copy(output, at + 8, cookieAt, cookieAt + 8);
  return at + SIMPLE_REPLY_BYTES;
}

function putChunk(output: Buffer, at: number, input: Buffer, cookieAt: number, type: number, length: number, done: number = CHUNK_DONE): number {
  output.writeUInt32BE(STRUCTURED_REPLY_MAGIC, at);
  output.writeUInt16BE(done, at + 4);
  output.writeUInt16BE(type, at + 6);
  input.copy(output, at + 8, cookieAt, cookieAt + 8);
  output.writeUInt32BE(length, at + 16);
  return at + STRUCTURED_HEADER_BYTES;
}

/** Data of a read, or of a part of it; the data itself follows. `last`: it ends the answer. */
export function putDataChunk(output: Buffer, at: number, input: Buffer, request: Request, last: boolean): number {
  const next = putChunk(output, at, input, request.cookieAt, CHUNK.OFFSET_DATA, 8 + request.length, last ? CHUNK_DONE : 0);
  output.writeUInt32BE(Math.floor(request.offset / 0x1_0000_0000), next);
  output.writeUInt32BE(request.offset % 0x1_0000_0000, next + 4);
  return next + 8;
}

export function putNoneChunk(output: Buffer, at: number, input: Buffer, cookieAt: number): number {
  return putChunk(output, at, input, cookieAt, CHUNK.NONE, 0);
}

export function putErrorChunk(output: Buffer, at: number, input: Buffer, cookieAt: number, error: number): number {
  const next = putChunk(output, at, input, cookieAt, CHUNK.ERROR, 6);
  output.writeUInt32BE(error, next);
  output.writeUInt16BE(0, next + 4);
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
  next = output.writeUInt32BE(chunk.contextId, next);
  for (const value of chunk.pairs) next = output.writeUInt32BE(value, next);
  return next;
}
