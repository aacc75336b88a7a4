// The transmission loop of one connection: read what is there, serve every request in it, answer with few writes. While the
// device is slow to read, what is waiting behind a request is begun ahead of its turn, and answers leave as they come.

import { limits } from '../../base/limits.ts';
import { answerDone, answerError, answerFailed, partOf, SEND_BYTES, send, serve, written } from './answer-requests.ts';
import { waitedForDevice } from './coldness.ts';
import { compact, kindOf, lap, LONG_REST_BYTES, makeLoop } from './request-loop.ts';
import type { Loop, Session } from './request-loop.ts';
import { beginsAhead, collect, collectFinished, expectWaiting, goesAhead, settle } from './requests-ahead.ts';
import { IDLE } from './socket.ts';
import { streamWrite } from './stream-write.ts';
import { copyCookie } from './wire/bytes.ts';
import { CMD, CMD_FLAG, REQUEST_BYTES } from './wire/constants.ts';
import { parseRequest, refusalOf } from './wire/transmission.ts';
import type { Request, RequestPlace } from './wire/transmission.ts';

/** Serves until the client leaves, or says what no client may say. `rest` is what came behind the handshake. */
export function serveRequests(session: Session, rest: Uint8Array): void {
  const loop = makeLoop(session, rest);
  for (;;) {
    const step = advance(loop);
    if (step === 'leave' || (step !== 'wait' && !receive(loop, step))) return;
  }
}

/** For a socket that hands over what came, and takes answers without waiting. */
export type RequestFeed = {
  /** 'wait': nothing more before resume(), the client takes its answers too slowly; 'leave': the connection is over. */
  push(chunk: Buffer): 'more' | 'wait' | 'leave';
  resume(): 'more' | 'wait' | 'leave';
};

export function feedRequests(session: Session): RequestFeed {
  // What comes is pushed: nothing of a long write can be waited for.
  const loop = makeLoop({ ...session, streamFrom: Infinity }, new Uint8Array(0));
  let held: Buffer = Buffer.alloc(0);
  let wanted = REQUEST_BYTES;
  const go = (): 'more' | 'wait' | 'leave' => {
    for (;;) {
      const step = advance(loop);
      if (typeof step === 'string') return step;
      wanted = step;
      if (held.length === 0) return 'more';
      compact(loop, wanted);
      const count = held.copy(loop.input, loop.end);
      loop.end += count;
      held = held.subarray(count);
    }
  };
  return {
    push(chunk) {
      held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      return go();
    },
    resume: go,
  };
}

/** Serves all that is there; 'wait' = the client has answers enough, else the bytes that the first unfinished request has in all. */
function advance(loop: Loop): 'leave' | 'wait' | number {
  lap(loop);
  for (;;) {
    if (loop.coldness.cold() && !goesAhead(loop)) {
      expectWaiting(loop);
      lap(loop);
    }
    const step = serveNext(loop);
    if (step === 'served') {
      if (loop.socket.congested?.() !== true) continue;
      send(loop);
      return 'wait';
    }
    if (loop.ahead !== null && loop.ahead.inFlight() > 0) collect(loop, loop.ahead, step);
    else {
      if (step !== 'leave' && servesOn(loop)) {
        // What was spent waiting is no request's time.
        lap(loop);
        continue;
      }
      send(loop);
      return step;
    }
  }
}

/** Before answers leave: what has come while the client still had others to take is served first. Many at once cost it less (random reads of
 *  4 KiB at depth 32: 8 answers at a time instead of 1, 202 to 222..236 thousand a second). It has the others to go on with; but where one
 *  of these is not in the page cache, or a write is throttled, what is answered waits for that. */
function servesOn(loop: Loop): boolean {
  if (loop.filled === loop.start || loop.input.length - loop.end < LONG_REST_BYTES) return false;
  const count = loop.socket.readMeanwhile?.(loop.input, loop.end, loop.input.length - loop.end) ?? 0;
  loop.end += count;
  return count > 0;
}

/** What is answered already is not left to wait for these. */
const mayTakeLong = ({ type, flags }: Request): boolean => type !== CMD.READ && (type !== CMD.WRITE || (flags & CMD_FLAG.FUA) !== 0);

/** 'served', 'leave', or the bytes that the first unfinished request has in all. */
function serveNext(loop: Loop): 'served' | 'leave' | number {
  const waiting = loop.end - loop.at;
  if (waiting < REQUEST_BYTES) return REQUEST_BYTES;
  const { request } = loop;
  if (!parseRequest(loop.input, loop.at, request) || request.type === CMD.DISC) return 'leave';
  const payload = request.type === CMD.WRITE ? request.length : 0;
  // The payload of a write that is too long can't be skipped within limits: the connection ends.
  if (payload > limits.nbdRequestBytes) return 'leave';
  if (payload > loop.streamFrom && waiting < REQUEST_BYTES + payload) return stream(loop, request);
  if (waiting < REQUEST_BYTES + payload) return REQUEST_BYTES + payload;
  if (!beginsAhead(loop, request, waiting - payload)) {
    settle(loop, request);
    if (mayTakeLong(request)) {
      send(loop);
      lap(loop);
    }
    serve(loop, request, loop.at + REQUEST_BYTES);
    const us = lap(loop);
    loop.counters.took(kindOf(request), us);
    if (waitedForDevice(us, request.length)) loop.socket.waited?.(request.type === CMD.READ);
    // What is read in parts is judged part by part.
    if (request.type === CMD.READ && request.length <= partOf(loop, request)) loop.coldness.took(us, request.length);
    if (loop.filled >= SEND_BYTES || loop.absorbed >= SEND_BYTES || loop.coldness.cold()) {
      send(loop);
      lap(loop);
    }
  }
  loop.at += REQUEST_BYTES + payload;
  return 'served';
}

/** A long write, of which a part is there. */
function stream(loop: Loop, request: RequestPlace): 'served' | 'leave' {
  // What was answered before it must not wait for its end.
  while (loop.ahead !== null && loop.ahead.inFlight() > 0) collectFinished(loop, loop.ahead);
  send(loop);
  // Where it lies will have been written over.
  copyCookie(loop.input, request.cookieAt, loop.cookie, 0);
  request.cookieAt = 0;
  const refusal = refusalOf(request, loop.served);
  lap(loop);
  const gathered = REQUEST_BYTES + loop.gatherBytes + LONG_REST_BYTES;
  if (loop.input.length < gathered) compact(loop, gathered);
  const write = { offset: request.offset, length: request.length, wanted: refusal === 0, gatherBytes: loop.gatherBytes };
  const outcome = streamWrite(loop.socket, loop.io, loop.input, loop.at + REQUEST_BYTES, loop.end, write);
  if (outcome === null) return 'leave';
  loop.at = outcome.at;
  loop.end = outcome.end;
  loop.expected = 0;
  loop.counters.took('write', lap(loop));
  if (refusal !== 0) answerError(loop, request, loop.cookie, refusal);
  else
    try {
      if (outcome.error !== null) throw outcome.error;
      written(loop, request);
      answerDone(loop, request, loop.cookie);
    } catch (error) {
      answerFailed(loop, request, loop.cookie, error);
    }
  return 'served';
}

/** Waits for more input; false at its end. */
function receive(loop: Loop, wanted: number): boolean {
  const missing = wanted - (loop.end - loop.at);
  const long = missing > LONG_REST_BYTES && loop.at + wanted <= loop.input.length;
  if (!long) compact(loop, wanted);
  const count = loop.socket.read(loop.input, loop.end, long ? missing : loop.input.length - loop.end);
  if (count !== IDLE) loop.end += count;
  // Between two requests nothing is held that another process could not begin with.
  else if (loop.at === loop.end) loop.park?.();
  return count !== 0;
}
