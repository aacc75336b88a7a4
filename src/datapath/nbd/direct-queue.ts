// Requests of a VBD with direct I/O, many in flight: the device gets a queue although the process runs one at a time.

import type { RequestQueue } from '../../host/request-queue.ts';
import { CMD, CMD_FLAG } from './wire/constants.ts';
import type { Request } from './wire/transmission.ts';

export const SLOTS = 32;
export const SLOT_BYTES = 256 * 1024;
/** Long requests go to some of the slots only: the memory of the others is never all used, and 2 MiB are enough for the drives that were measured. */
const LONG_SLOTS = 8;
const LONG_BYTES = 16 * 1024;

/** Where a range lies on one device; null when it crosses a border between segments. */
export type Place = { readonly fd: number; readonly offset: number; readonly segment: number } | null;

export type Finished = {
  /** Its cookie lies in `cookies`. */
  readonly request: Request;
  readonly cookies: Buffer;
  /** What was read, or was to be written. */
  readonly data: Buffer;
  readonly segment: number;
  /** false: it is to be done again, waiting, so that its error is told as for any other. */
  readonly whole: boolean;
  /** By performance.now(). */
  readonly beganMs: number;
};

export type DirectQueue = {
  inFlight(): number;
  /** Something in flight has to end before the request can begin. */
  mustWait(request: Request): boolean;
  /** false: not for this queue. */
  begin(request: Request, input: Buffer, payloadAt: number): boolean;
  /** Waits for at least one. */
  collect(finished: (one: Finished) => void): void;
};

export type DirectQueueOptions = {
  readonly queue: RequestQueue;
  /** false: writes are not for this queue, as nothing would prove that they have ended. */
  readonly writes: boolean;
  readonly placeOf: (offset: number, length: number) => Place;
};

type InFlight = { readonly request: Request; readonly segment: number; readonly beganMs: number };

export function makeDirectQueue({ queue, writes, placeOf }: DirectQueueOptions): DirectQueue {
  const memory = Buffer.from(queue.memory.buffer, queue.memory.byteOffset, queue.memory.byteLength);
  const cookies = Buffer.alloc(8 * SLOTS);
  const slots: (InFlight | undefined)[] = [];
  // The slot that was used last is taken first: its memory is there already.
  const free = Array.from({ length: SLOTS }, (_, index) => SLOTS - 1 - index);
  const freeFor = (length: number): number => (length <= LONG_BYTES ? free.length - 1 : free.findLastIndex((slot) => slot < LONG_SLOTS));
  const isForUs = ({ type, flags, length }: Request): boolean =>
    (type === CMD.READ || (type === CMD.WRITE && writes)) && length <= SLOT_BYTES && (flags & CMD_FLAG.FUA) === 0;
  return {
    inFlight: () => SLOTS - free.length,
    mustWait: (request) => isForUs(request) && freeFor(request.length) < 0,
    begin(request, input, payloadAt) {
      const index = freeFor(request.length);
      const slot = free[index];
      if (slot === undefined || !isForUs(request)) return false;
      const place = placeOf(request.offset, request.length);
      if (place === null) return false;
      const kind = request.type === CMD.WRITE ? 'write' : 'read';
      if (kind === 'write') input.copy(memory, slot * SLOT_BYTES, payloadAt, payloadAt + request.length);
      if (queue.begin(kind, slot, place.fd, place.offset, request.length) !== 0) return false;
      free.splice(index, 1);
      input.copy(cookies, 8 * slot, request.cookieAt, request.cookieAt + 8);
      slots[slot] = { request: { ...request, cookieAt: 8 * slot }, segment: place.segment, beganMs: performance.now() };
      return true;
    },
    collect(finished) {
      queue.wait((slot, result) => {
        const there = slots[slot];
        if (there === undefined) return;
        slots[slot] = undefined;
        free.push(slot);
        const { request, segment, beganMs } = there;
        const data = memory.subarray(slot * SLOT_BYTES, slot * SLOT_BYTES + request.length);
        finished({ request, cookies, data, segment, whole: result === request.length, beganMs });
      });
    },
  };
}
