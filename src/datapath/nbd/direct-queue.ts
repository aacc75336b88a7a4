// Requests of a VBD with direct I/O, many in flight: the device gets a queue although the process runs one at a time. Reads go
// through Linux AIO; writes, and reads beside them, through threads, since a write must not outlive the proof that its process is
// gone. The two are never waited for at once: the first write waits until the reads before it are in.

import type { ReadQueue } from '../../host/read-queue.ts';
import type { ThreadQueue } from '../../host/thread-queue.ts';
import { CMD, CMD_FLAG } from './wire/constants.ts';
import type { Request } from './wire/transmission.ts';

export const SLOTS = 32;
export const SLOT_BYTES = 256 * 1024;
/** Long requests go to some of the slots only: the memory of the others is never all used, and 2 MiB are enough for the drives that were measured. */
const LONG_SLOTS = 8;
const LONG_BYTES = 16 * 1024;
/** Writes in flight: more gain nothing on the drives that were measured. */
export const LANES = 8;
/** Reads this soon after a write go beside the writes to come: changing over costs the wait for all that is in flight. */
const MIXED = 64;

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

type InFlight = { readonly request: Request; readonly segment: number; readonly beganMs: number };

export function makeDirectQueue(reads: ReadQueue, threads: ThreadQueue | null, placeOf: (offset: number, length: number) => Place): DirectQueue {
  const memory = Buffer.from(reads.memory.buffer, reads.memory.byteOffset, reads.memory.byteLength);
  const cookies = Buffer.alloc(8 * SLOTS);
  const slots: (InFlight | undefined)[] = [];
  // The slot that was used last is taken first: its memory is there already.
  const free = Array.from({ length: SLOTS }, (_, index) => SLOTS - 1 - index);
  const freeLanes = Array.from({ length: threads?.lanes ?? 0 }, (_, index) => index);
  const slotOfLane: number[] = [];
  const onLanes = (): number => (threads?.lanes ?? 0) - freeLanes.length;
  const inFlight = (): number => SLOTS - free.length;
  const freeFor = (length: number): number => (length <= LONG_BYTES ? free.length - 1 : free.findLastIndex((slot) => slot < LONG_SLOTS));
  let sinceWrite = MIXED;
  const needsLane = (request: Request): boolean => request.type === CMD.WRITE || onLanes() > 0 || (threads !== null && sinceWrite < MIXED);
  const finish = (slot: number, result: number, finished: (one: Finished) => void): void => {
    const there = slots[slot];
    if (there === undefined) return;
    slots[slot] = undefined;
    free.push(slot);
    const { request, segment, beganMs } = there;
    const data = memory.subarray(slot * SLOT_BYTES, slot * SLOT_BYTES + request.length);
    finished({ request, cookies, data, segment, whole: result === request.length, beganMs });
  };
  return {
    inFlight,
    mustWait(request) {
      if (freeFor(request.length) < 0) return true;
      return needsLane(request) && (freeLanes.length === 0 || inFlight() > onLanes());
    },
    begin(request, input, payloadAt) {
      const index = freeFor(request.length);
      const slot = free[index];
      if (slot === undefined || request.length > SLOT_BYTES || (request.flags & CMD_FLAG.FUA) !== 0) return false;
      const place = placeOf(request.offset, request.length);
      if (place === null) return false;
      const write = request.type === CMD.WRITE;
      sinceWrite = write ? 0 : sinceWrite + 1;
      if (write) input.copy(memory, slot * SLOT_BYTES, payloadAt, payloadAt + request.length);
      if (needsLane(request)) {
        const lane = freeLanes.at(-1);
        if (threads === null || lane === undefined) return false;
        const address = reads.address + slot * SLOT_BYTES;
        if (threads.begin(write ? 'write' : 'read', lane, place.fd, address, request.length, place.offset) !== 0) return false;
        freeLanes.pop();
        slotOfLane[lane] = slot;
      } else if (reads.begin(slot, place.fd, place.offset, request.length) !== 0) return false;
      free.splice(index, 1);
      input.copy(cookies, 8 * slot, request.cookieAt, request.cookieAt + 8);
      slots[slot] = { request: { ...request, cookieAt: 8 * slot }, segment: place.segment, beganMs: performance.now() };
      return true;
    },
    collect(finished) {
      if (threads === null || onLanes() === 0) return reads.wait((slot, result) => finish(slot, result, finished));
      threads.wait((lane, result) => {
        freeLanes.push(lane);
        const slot = slotOfLane[lane];
        if (slot !== undefined) finish(slot, result, finished);
      });
    },
  };
}
