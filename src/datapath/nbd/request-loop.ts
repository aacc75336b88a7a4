// What the transmission loop of one connection has at hand, and how its input moves.

import type { AheadQueue } from './ahead-queue.ts';
import { OUTPUT_BYTES, startOf } from './answer-requests.ts';
import type { Answering } from './answer-requests.ts';
import { elapsedUs } from './clock.ts';
import { makeColdness } from './coldness.ts';
import type { LatencyKind } from './counters.ts';
import { KEPT_BYTES, replaced } from './replaced-buffer.ts';
import type { SharedPage } from './shared-page.ts';
import { CMD } from './wire/constants.ts';
import { requestPlace } from './wire/transmission.ts';
import type { Request, RequestPlace } from './wire/transmission.ts';

export const INPUT_BYTES = 512 * 1024;
/** So much of a payload that is still to come is read by itself, and nothing is moved in the buffer. */
export const LONG_REST_BYTES = 64 * 1024;
const KIND_OF: Readonly<Record<number, LatencyKind>> = { [CMD.READ]: 'read', [CMD.WRITE]: 'write', [CMD.FLUSH]: 'flush' };
export const kindOf = ({ type }: Request): LatencyKind => KIND_OF[type] ?? 'other';

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
export type Loop = Omit<Session, 'ahead' | 'openAhead' | 'park'> &
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

/** Whatever the session has: all loops have the same fields in the same order, so that what V8 has learnt of one is good for the next. */
export function makeLoop(session: Session, rest: Uint8Array): Loop {
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
export function lap(loop: Loop): number {
  const before = loop.nowUs;
  loop.nowUs = loop.clock();
  return elapsedUs(before, loop.nowUs);
}

/** Makes room behind the input for `wanted` bytes from its first request on. */
export function compact(loop: Loop, wanted: number): void {
  if (loop.at > 0) loop.input.copyWithin(0, loop.at, loop.end);
  loop.end -= loop.at;
  loop.expected = Math.max(0, loop.expected - loop.at);
  loop.at = 0;
  if (wanted > loop.input.length) loop.input = replaced(loop.input, wanted, loop.end);
  // A large request is over.
  else if (loop.input.length > KEPT_BYTES && wanted <= INPUT_BYTES && loop.end <= INPUT_BYTES) loop.input = replaced(loop.input, INPUT_BYTES, loop.end);
}
