// Requests that the kernel does while the process goes on, many in flight: the device gets a queue although the process runs one at a
// time. Reads and writes of a VBD with direct I/O, by Linux AIO; through the page cache reads only, by io_uring.

import type { RequestQueue } from '../../host/request-queue.ts';
import { copyCookie } from './wire/bytes.ts';
import { CMD, CMD_FLAG } from './wire/constants.ts';
import { requestPlace } from './wire/transmission.ts';
import type { Request, RequestPlace } from './wire/transmission.ts';

export const SLOTS = 32;
export const SLOT_BYTES = 256 * 1024;
/** Through the page cache: longer reads are begun by the kernel's own reading ahead. */
export const CACHED_SLOT_BYTES = 64 * 1024;
/** Long requests go to some of the slots only: the memory of the others is never all used, and 1.5 MiB are enough for the drives that were measured. */
const LONG_SLOTS = 6;
const LONG_BYTES = 16 * 1024;

/** Where a range lies on one device; null when it crosses a border between segments. */
export type Place = { readonly fd: number; readonly offset: number; readonly segment: number } | null;

/** Good until the call with it returns: each slot has one. */
export type Finished = {
  /** Its cookie lies in `cookies`. */
  readonly request: Request;
  readonly cookies: Buffer;
  /** From data[dataAt] on lies what was read, or was to be written. */
  readonly data: Buffer;
  readonly dataAt: number;
  readonly segment: number;
  /** false: it is to be done again, waiting, so that its error is told as for any other. */
  readonly whole: boolean;
  /** By the connection's clock. */
  readonly beganUs: number;
  /** It was not there at once. */
  readonly late: boolean;
};

export type AheadQueue = {
  inFlight(): number;
  takes(request: Request): boolean;
  /** Something in flight has to end before the request can begin. */
  mustWait(request: Request): boolean;
  /** false: not for this queue. `nowUs` by the connection's clock. */
  begin(request: Request, input: Buffer, payloadAt: number, nowUs: number): boolean;
  /** Waits for at least one. */
  collect(finished: (one: Finished) => void): void;
  /** What has finished by now; what was begun is on its way behind it. */
  poll(finished: (one: Finished) => void): void;
};

export type AheadQueueOptions = {
  readonly queue: RequestQueue;
  readonly slotBytes: number;
  /** false: writes are not for this queue, as nothing would prove that they have ended. */
  readonly writes: boolean;
  readonly placeOf: (offset: number, length: number) => Place;
};

type Slot = Omit<{ -readonly [Field in keyof Finished]: Finished[Field] }, 'request'> & { readonly request: RequestPlace };

export function makeAheadQueue({ queue, slotBytes, writes, placeOf }: AheadQueueOptions): AheadQueue {
  const memory = Buffer.from(queue.memory.buffer, queue.memory.byteOffset, queue.memory.byteLength);
  const cookies = Buffer.alloc(8 * SLOTS);
  const slots = Array.from({ length: SLOTS }, (_, index): Slot => ({
    request: requestPlace(),
    cookies,
    data: memory,
    dataAt: index * slotBytes,
    segment: 0,
    whole: false,
    beganUs: 0,
    late: false,
  }));
  // The slot that was used last is taken first: its memory is there already.
  const free = Array.from({ length: SLOTS }, (_, index) => SLOTS - 1 - index);
  const freeFor = (length: number): number => (length <= LONG_BYTES ? free.length - 1 : free.findLastIndex((slot) => slot < LONG_SLOTS));
  /** In flight. To answer one takes as long as to read it: what the client asks meanwhile is begun before the next is answered. */
  let longs = 0;
  const isForUs = ({ type, flags, length }: Request): boolean =>
    (type === CMD.READ || (type === CMD.WRITE && writes)) && length <= slotBytes && (flags & CMD_FLAG.FUA) === 0;
  const tell =
    (finished: (one: Finished) => void) =>
    (number: number, result: number, late: boolean): void => {
      const slot = slots[number];
      if (slot === undefined) return;
      if (slot.request.length > LONG_BYTES) longs -= 1;
      slot.late = late;
      slot.whole = result === slot.request.length;
      finished(slot);
      // Only now another request may have it.
      free.push(number);
    };
  return {
    inFlight: () => SLOTS - free.length,
    takes: isForUs,
    mustWait: (request) => isForUs(request) && freeFor(request.length) < 0,
    begin(request, input, payloadAt, nowUs) {
      const index = freeFor(request.length);
      const number = free[index];
      const slot = number === undefined ? undefined : slots[number];
      if (number === undefined || slot === undefined || !isForUs(request)) return false;
      const place = placeOf(request.offset, request.length);
      if (place === null) return false;
      const kind = request.type === CMD.WRITE ? 'write' : 'read';
      if (kind === 'write') input.copy(memory, slot.dataAt, payloadAt, payloadAt + request.length);
      if (queue.begin(kind, number, place.fd, place.offset, request.length) !== 0) return false;
      free.copyWithin(index, index + 1);
      free.pop();
      copyCookie(input, request.cookieAt, cookies, 8 * number);
      if (request.length > LONG_BYTES) longs += 1;
      Object.assign(slot.request, request);
      slot.request.cookieAt = 8 * number;
      slot.segment = place.segment;
      slot.beganUs = nowUs;
      return true;
    },
    collect: (finished) => queue.wait(tell(finished), longs > 0 ? 1 : SLOTS),
    poll: (finished) => queue.poll(tell(finished)),
  };
}
