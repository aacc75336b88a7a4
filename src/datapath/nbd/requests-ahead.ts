// What is begun ahead of its turn while the device is slow to read, and answered as it comes.

import type { AheadQueue, Finished } from './ahead-queue.ts';
import { answerDone, answerFailed, counted, HEADROOM, putReadHead, readWaiting, room, SEND_BYTES, send, sendBehind, written } from './answer-requests.ts';
import { elapsedUs } from './clock.ts';
import { compact, INPUT_BYTES, kindOf, lap, LONG_REST_BYTES } from './request-loop.ts';
import type { Loop } from './request-loop.ts';
import { CMD, REQUEST_BYTES } from './wire/constants.ts';
import { parseRequest, refusalOf } from './wire/transmission.ts';
import type { Request } from './wire/transmission.ts';

/** Of the cookie inside a request. */
const COOKIE_AT = 8;

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
export function goesAhead(loop: Loop): boolean {
  const ahead = aheadNow(loop);
  if (ahead === null || loop.end - loop.at < REQUEST_BYTES) return ahead !== null;
  return parseRequest(loop.input, loop.at, loop.glance) && ahead.takes(loop.glance);
}

/** Before something is waited for, what is under way is not left to wait for it: begun it is, and answered if it is there. */
export function settle(loop: Loop, { type }: Request): void {
  const { ahead } = loop;
  if (ahead === null || ahead.inFlight() === 0) return;
  ahead.poll((one) => answerFinished(loop, one));
  // These may take long.
  while (type !== CMD.READ && type !== CMD.WRITE && ahead.inFlight() > 0) collectFinished(loop, ahead);
  send(loop);
  lap(loop);
}

/** What is alone is soonest done by waiting for it. `waiting`: bytes of input without its payload. */
export function beginsAhead(loop: Loop, request: Request, waiting: number): boolean {
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

/** Begins every read that waits in the input, also what has come in since. */
export function expectWaiting(loop: Loop): void {
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

/** Takes in what has been asked meanwhile, or else answers what has been done meanwhile. */
export function collect(loop: Loop, ahead: AheadQueue, step: 'leave' | number): void {
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

export function collectFinished(loop: Loop, ahead: AheadQueue): void {
  ahead.collect((one) => answerFinished(loop, one));
}

function answerFinished(loop: Loop, { request, cookies, data, dataAt, segment, whole, beganUs, late }: Finished): void {
  // With direct I/O all wait for the device, and it is no matter.
  if (loop.openAhead !== null) loop.coldness.found(late);
  loop.counters.took(kindOf(request), elapsedUs(beganUs, loop.clock()));
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
