// The transmission loop of one connection: read what is there, serve every request in it, answer with one write.

import { readSync, writeSync } from 'node:fs';
import { limits } from '../../base/limits.ts';
import { CMD, CMD_FLAG, NBD_ERROR, REQUEST_BYTES } from './wire/constants.ts';
import { parseRequest, putDataChunk, putErrorChunk, putNoneChunk, putSimpleReply, refusalOf } from './wire/transmission.ts';
import type { Request, Served } from './wire/transmission.ts';
import type { VbdIo } from './vbd-io.ts';

const FIRST_INPUT_BYTES = 512 * 1024;
const FIRST_OUTPUT_BYTES = 512 * 1024;
const HEADROOM = 64;

export type Socket = { read(buffer: Buffer, at: number, length: number): number; write(buffer: Buffer, at: number, length: number): void };

/** Blocking socket on a descriptor. */
export const socketOf = (input: number, output: number): Socket => ({
  read: (buffer, at, length) => readSync(input, buffer, at, length, null),
  write(buffer, at, length) {
    for (let done = 0; done < length; ) done += writeSync(output, buffer, at + done, length - done, null);
  },
});

type Loop = { readonly socket: Socket; readonly io: VbdIo; readonly served: Served; readonly structured: boolean; input: Buffer; output: Buffer; filled: number };

/** Serves until the client leaves, or says what no client may say. `rest` is what came behind the handshake. */
export function serveRequests(socket: Socket, io: VbdIo, served: Served, structured: boolean, rest: Uint8Array): void {
  const loop: Loop = { socket, io, served, structured, input: Buffer.allocUnsafeSlow(FIRST_INPUT_BYTES), output: Buffer.allocUnsafeSlow(FIRST_OUTPUT_BYTES), filled: 0 };
  loop.input.set(rest, 0);
  let end = rest.length;
  for (;;) {
    const { consumed, leave, wanted } = serveAll(loop, end);
    flushOutput(loop);
    if (leave) return;
    if (consumed > 0) loop.input.copyWithin(0, consumed, end);
    end -= consumed;
    if (wanted > loop.input.length) loop.input = Buffer.concat([loop.input.subarray(0, end)], wanted);
    const count = loop.socket.read(loop.input, end, loop.input.length - end);
    if (count === 0) return;
    end += count;
  }
}

/** Serves the whole requests in input[0, end); `wanted` is the room that the first unfinished one needs. */
function serveAll(loop: Loop, end: number): { consumed: number; leave: boolean; wanted: number } {
  let at = 0;
  while (end - at >= REQUEST_BYTES) {
    const request = parseRequest(loop.input, at);
    if (request === null || request.type === CMD.DISC) return { consumed: at, leave: true, wanted: 0 };
    const payload = request.type === CMD.WRITE ? request.length : 0;
    // The payload of a write that is too long can't be skipped within limits: the connection ends.
    if (payload > limits.nbdRequestBytes) return { consumed: at, leave: true, wanted: 0 };
    if (end - at - REQUEST_BYTES < payload) return { consumed: at, leave: false, wanted: REQUEST_BYTES + payload };
    serve(loop, request, at + REQUEST_BYTES);
    at += REQUEST_BYTES + payload;
  }
  return { consumed: at, leave: false, wanted: 0 };
}

function serve(loop: Loop, request: Request, payloadAt: number): void {
  const refusal = refusalOf(request, loop.served);
  if (refusal !== 0) return answerError(loop, request, refusal);
  try {
    if (request.type === CMD.READ) return read(loop, request);
    act(loop, request, payloadAt);
  } catch (error) {
    return answerError(loop, request, errorNumber(error));
  }
  room(loop, HEADROOM);
  loop.filled = loop.structured ? putNoneChunk(loop.output, loop.filled, loop.input, request.cookieAt) : putSimpleReply(loop.output, loop.filled, loop.input, request.cookieAt, 0);
}

class NotFast extends Error {}

function act({ io, input }: Loop, request: Request, payloadAt: number): void {
  const { type, flags, offset, length } = request;
  if (type === CMD.WRITE) io.write(offset, input, payloadAt, length);
  else if (type === CMD.WRITE_ZEROES) {
    const done = io.zero(offset, length, { mayPunch: (flags & CMD_FLAG.NO_HOLE) === 0, fastOnly: (flags & CMD_FLAG.FAST_ZERO) !== 0 });
    if (!done) throw new NotFast();
  } else if (type === CMD.TRIM) io.zero(offset, length, { mayPunch: true, fastOnly: true });
  else if (type === CMD.FLUSH) return io.flush();
  else if (type !== CMD.CACHE) throw new RangeError(`command ${type} was let in`);
  if ((flags & CMD_FLAG.FUA) !== 0) io.flush();
}

function read(loop: Loop, request: Request): void {
  room(loop, request.length + HEADROOM);
  const start = loop.filled;
  const at = loop.structured ? putDataChunk(loop.output, start, loop.input, request) : putSimpleReply(loop.output, start, loop.input, request.cookieAt, 0);
  loop.io.read(request.offset, loop.output, at, request.length);
  loop.filled = at + request.length;
}

function answerError(loop: Loop, request: Request, error: number): void {
  room(loop, HEADROOM);
  // BLOCK_STATUS is only let in with structured replies, where an error is a chunk like any other answer.
  loop.filled = loop.structured ? putErrorChunk(loop.output, loop.filled, loop.input, request.cookieAt, error) : putSimpleReply(loop.output, loop.filled, loop.input, request.cookieAt, error);
}

const numbers: Readonly<Record<string, number>> = { EPERM: NBD_ERROR.EPERM, EROFS: NBD_ERROR.EPERM, ENOMEM: NBD_ERROR.ENOMEM, EINVAL: NBD_ERROR.EINVAL };

/** “No space” makes QEMU pause its guest, so a full filesystem under a pool file is an I/O error to the guest like any other. */
function errorNumber(error: unknown): number {
  if (error instanceof NotFast) return NBD_ERROR.ENOTSUP;
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' ? (numbers[code] ?? NBD_ERROR.EIO) : NBD_ERROR.EIO;
}

/** Room for that many bytes of answer: by sending what is there, or (one large read) by a larger buffer, kept for this answer only. */
function room(loop: Loop, length: number): void {
  if (loop.output.length - loop.filled >= length) return;
  flushOutput(loop);
  if (loop.output.length < length) loop.output = Buffer.allocUnsafeSlow(length);
}

function flushOutput(loop: Loop): void {
  if (loop.filled > 0) loop.socket.write(loop.output, 0, loop.filled);
  loop.filled = 0;
  if (loop.output.length > 4 * FIRST_OUTPUT_BYTES) loop.output = Buffer.allocUnsafeSlow(FIRST_OUTPUT_BYTES);
}
