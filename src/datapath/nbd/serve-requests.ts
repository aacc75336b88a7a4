// The transmission loop of one connection: read what is there, serve every request in it, answer with few writes. While the
// device is slow to read, what is waiting behind a request is begun ahead of its turn, and answers leave as they come.

import { limits } from '../../base/limits.ts';
import type { AheadQueue, Finished } from './ahead-queue.ts';
import {
  answerDone,
  answerError,
  answerFailed,
  counted,
  HEADROOM,
  OUTPUT_BYTES,
  putReadHead,
  partOf,
  readWaiting,
  room,
  SEND_BYTES,
  send,
  sendBehind,
  serve,
  startOf,
  written,
} from './answer-requests.ts';
import type { Answering } from './answer-requests.ts';
import { elapsedUs } from './clock.ts';
import { makeColdness } from './coldness.ts';
import type { LatencyKind } from './counters.ts';
import { KEPT_BYTES, replaced } from './replaced-buffer.ts';
import type { SharedPage } from './shared-page.ts';
import { IDLE } from './socket.ts';
import { streamWrite } from './stream-write.ts';
import { CMD, CMD_FLAG, REQUEST_BYTES } from './wire/constants.ts';
import { parseRequest, refusalOf, requestPlace } from './wire/transmission.ts';
import type { Request, RequestPlace } from './wire/transmission.ts';

const INPUT_BYTES = 512 * 1024;
/** Of the cookie inside a request. */
const COOKIE_AT = 8;
const KIND_OF: Readonly<Record<number, LatencyKind>> = { [CMD.READ]: 'read', [CMD.WRITE]: 'write', [CMD.FLUSH]: 'flush' };
/** So much of a payload that is still to come is read by itself, and nothing is moved in the buffer. */
const LONG_REST_BYTES = 64 * 1024;

export type Session = Pick<Answering, 'socket' | 'io' | 'partBytes' | 'counters' | 'clock' | 'served' | 'structured' | 'contexts'> & {
  readonly page: Pick<SharedPage, 'mark'>;
  /** null = requests are waited for, one by one. */ readonly ahead: AheadQueue | null;
  /** Where reads go ahead only while they wait for the device: called when they first do. */ readonly openAhead?: () => AheadQueue | null;
  /** Writes with more bytes than this are written as they come in. */ readonly streamFrom: number;
  /** Such a write is written in parts of so many bytes, or (0) as they come. */ readonly gatherBytes: number;
  /** Called when no request has come for long, and none is begun; it returns when there is no other way to wait. */
  readonly park?: () => void;
};

/** input[at, end) is what was read and not yet served; what lies before `expected` was begun ahead. */
type Loop = Omit<Session, 'ahead' | 'openAhead' | 'park'> &
  Answering & {
    ahead: AheadQueue | null;
    openAhead: (() => AheadQueue | null) | null;
    readonly park: (() => void) | undefined;
    readonly cookie: Buffer;
    input: Buffer;
    at: number;
    end: number;
    expected: number;
    /** When the clock was last looked at. */
    nowUs: number;
    /** The one that is served, and one that is only looked at. */
    readonly request: RequestPlace;
    readonly glance: RequestPlace;
  };

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

/** Whatever the session has: all loops have the same fields in the same order, so that what V8 has learnt of one is good for the next. */
function makeLoop(session: Session, rest: Uint8Array): Loop {
  const { socket, io, partBytes, counters, clock, served, structured, contexts, page, ahead, openAhead, streamFrom, gatherBytes, park } = session;
  const output = Buffer.allocUnsafeSlow(OUTPUT_BYTES);
  const start = startOf({ socket, output, structured });
  const loop: Loop = {
    socket,
    io,
    partBytes,
    counters,
    clock,
    served,
    structured,
    contexts,
    page,
    ahead,
    openAhead: openAhead ?? null,
    streamFrom,
    gatherBytes,
    park,
    coldness: makeColdness(),
    cookie: Buffer.alloc(8),
    input: Buffer.allocUnsafeSlow(INPUT_BYTES),
    output,
    start,
    at: 0,
    end: rest.length,
    expected: 0,
    nowUs: clock(),
    request: requestPlace(),
    glance: requestPlace(),
    filled: start,
    absorbed: 0,
  };
  loop.input.set(rest, 0);
  return loop;
}

/** Microseconds since the last look at the clock: where one request ends, the next begins. */
function lap(loop: Loop): number {
  const before = loop.nowUs;
  loop.nowUs = loop.clock();
  return elapsedUs(before, loop.nowUs);
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

/** Takes in what has been asked meanwhile, or else answers what has been done meanwhile. */
function collect(loop: Loop, ahead: AheadQueue, step: 'leave' | number): void {
  if (step !== 'leave') {
    if (loop.input.length - loop.at < step || loop.input.length - loop.end < LONG_REST_BYTES) compact(loop, step);
    const count = loop.socket.readNow(loop.input, loop.end, loop.input.length - loop.end);
    loop.end += count;
    if (count > 0) return;
  }
  collectFinished(loop, ahead);
  send(loop);
  lap(loop);
}

function collectFinished(loop: Loop, ahead: AheadQueue): void {
  ahead.collect((one) => answerFinished(loop, one));
}

function answerFinished(loop: Loop, { request, cookies, data, dataAt, segment, whole, beganUs, late }: Finished): void {
  // With direct I/O all wait for the device, and it is no matter.
  if (loop.openAhead !== null) loop.coldness.found(late);
  loop.counters.took(KIND_OF[request.type] ?? 'other', elapsedUs(beganUs, loop.clock()));
  try {
    if (request.type === CMD.WRITE) {
      if (whole) loop.page.mark(segment);
      else loop.io.write(request.offset, data, dataAt, request.length);
      written(loop, request);
      return answerDone(loop, request, cookies);
    }
    if (!whole) return readWaiting(loop, request, cookies);
    const long = request.length >= SEND_BYTES;
    room(loop, HEADROOM + (long ? 0 : request.length));
    loop.filled = putReadHead(loop, request, cookies);
    if (long) sendBehind(loop, data, dataAt, request.length);
    else loop.filled += data.copy(loop.output, loop.filled, dataAt, dataAt + request.length);
    counted(loop, request);
  } catch (error) {
    answerFailed(loop, request, cookies, error);
  }
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
    loop.counters.took(KIND_OF[request.type] ?? 'other', us);
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
function stream(loop: Loop, request: Request): 'served' | 'leave' {
  // What was answered before it must not wait for its end.
  while (loop.ahead !== null && loop.ahead.inFlight() > 0) collectFinished(loop, loop.ahead);
  send(loop);
  loop.input.copy(loop.cookie, 0, request.cookieAt, request.cookieAt + 8);
  const answered = { ...request, cookieAt: 0 };
  const refusal = refusalOf(request, loop.served);
  lap(loop);
  const gathered = REQUEST_BYTES + loop.gatherBytes + LONG_REST_BYTES;
  if (loop.input.length < gathered) compact(loop, gathered);
  const write = { ...request, wanted: refusal === 0, gatherBytes: loop.gatherBytes };
  const outcome = streamWrite(loop.socket, loop.io, loop.input, loop.at + REQUEST_BYTES, loop.end, write);
  if (outcome === null) return 'leave';
  loop.at = outcome.at;
  loop.end = outcome.end;
  loop.expected = 0;
  loop.counters.took('write', lap(loop));
  if (refusal !== 0) answerError(loop, answered, loop.cookie, refusal);
  else
    try {
      if (outcome.error !== null) throw outcome.error;
      written(loop, request);
      answerDone(loop, answered, loop.cookie);
    } catch (error) {
      answerFailed(loop, answered, loop.cookie, error);
    }
  return 'served';
}

const NONE = (): null => null;

function aheadNow(loop: Loop): AheadQueue | null {
  // What is under way is not kept waiting by reads that are waited for.
  if (loop.openAhead === null || (loop.ahead !== null && loop.ahead.inFlight() > 0)) return loop.ahead;
  if (!loop.coldness.cold()) return null;
  if (loop.ahead === null) {
    loop.ahead = loop.openAhead();
    loop.openAhead = NONE;
  }
  return loop.ahead;
}

/** Whether the next request is for the queue: that begins what stands behind it, too. */
function goesAhead(loop: Loop): boolean {
  const ahead = aheadNow(loop);
  if (ahead === null || loop.end - loop.at < REQUEST_BYTES) return ahead !== null;
  return parseRequest(loop.input, loop.at, loop.glance) && ahead.takes(loop.glance);
}

/** Before something is waited for, what is under way is not left to wait for it: begun it is, and answered if it is there. */
function settle(loop: Loop, { type }: Request): void {
  const { ahead } = loop;
  if (ahead === null || ahead.inFlight() === 0) return;
  ahead.poll((one) => answerFinished(loop, one));
  // These may take long.
  while (type !== CMD.READ && type !== CMD.WRITE && ahead.inFlight() > 0) collectFinished(loop, ahead);
  send(loop);
  lap(loop);
}

/** What is alone is soonest done by waiting for it. `waiting`: bytes of input without its payload. */
function beginsAhead(loop: Loop, request: Request, waiting: number): boolean {
  const ahead = aheadNow(loop);
  if (ahead === null) return false;
  if ((request.type !== CMD.READ && request.type !== CMD.WRITE) || refusalOf(request, loop.served) !== 0) return false;
  if (ahead.inFlight() === 0 && waiting <= REQUEST_BYTES) return false;
  while (ahead.mustWait(request)) {
    collectFinished(loop, ahead);
    send(loop);
  }
  lap(loop);
  return ahead.begin(request, loop.input, request.cookieAt - COOKIE_AT + REQUEST_BYTES, loop.nowUs);
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

function compact(loop: Loop, wanted: number): void {
  if (loop.at > 0) loop.input.copyWithin(0, loop.at, loop.end);
  loop.end -= loop.at;
  loop.expected = Math.max(0, loop.expected - loop.at);
  loop.at = 0;
  if (wanted > loop.input.length) loop.input = replaced(loop.input, wanted, loop.end);
  // A large request is over.
  else if (loop.input.length > KEPT_BYTES && wanted <= INPUT_BYTES && loop.end <= INPUT_BYTES) loop.input = replaced(loop.input, INPUT_BYTES, loop.end);
}

/** Begins every read that waits in the input, also what has come in since. */
function expectWaiting(loop: Loop): void {
  if (loop.input.length - loop.end < REQUEST_BYTES) compact(loop, 0);
  if (loop.end - loop.at < INPUT_BYTES / 4) loop.end += loop.socket.readNow(loop.input, loop.end, loop.input.length - loop.end);
  const ahead = aheadNow(loop);
  let at = Math.max(loop.expected, loop.at);
  while (loop.end - at >= REQUEST_BYTES) {
    const request = loop.glance;
    if (!parseRequest(loop.input, at, request) || request.type === CMD.DISC) break;
    if (request.type === CMD.READ && ahead?.takes(request) !== true && refusalOf(request, loop.served) === 0) loop.io.expect(request.offset, request.length);
    at += REQUEST_BYTES + (request.type === CMD.WRITE ? request.length : 0);
  }
  loop.expected = at;
}
