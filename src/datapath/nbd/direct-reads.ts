// Reads of a VBD with direct I/O, many in flight: the device gets a queue although the process has one thread. Only reads:
// a write in flight could outlive the proof that its process is gone, so writes stay blocking.

import type { ReadQueue } from '../../host/read-queue.ts';
import type { Request } from './wire/transmission.ts';

export const READ_SLOTS = 32;
export const READ_SLOT_BYTES = 256 * 1024;

/** Where a range lies on one device; null when it crosses a border between segments. */
export type Place = { readonly fd: number; readonly offset: number } | null;

export type FinishedRead = {
  /** Its cookie lies in `cookies`. */ readonly request: Request;
  readonly cookies: Buffer;
  readonly data: Buffer;
  readonly whole: boolean;
};

export type DirectReads = {
  inFlight(): number;
  full(): boolean;
  /** false: not a read for this queue. There must be a free slot. */
  begin(request: Request, input: Buffer): boolean;
  /** Waits for at least one. */
  collect(finished: (read: FinishedRead) => void): void;
};

export function makeDirectReads(queue: ReadQueue, placeOf: (offset: number, length: number) => Place): DirectReads {
  const memory = Buffer.from(queue.memory.buffer, queue.memory.byteOffset, queue.memory.byteLength);
  const cookies = Buffer.alloc(8 * READ_SLOTS);
  const requests: (Request | undefined)[] = [];
  // The slot that was used last is taken first: its memory is there already.
  const free = Array.from({ length: READ_SLOTS }, (_, index) => READ_SLOTS - 1 - index);
  return {
    inFlight: () => READ_SLOTS - free.length,
    full: () => free.length === 0,
    begin(request, input) {
      const slot = free.at(-1);
      if (slot === undefined || request.length > READ_SLOT_BYTES) return false;
      const place = placeOf(request.offset, request.length);
      if (place === null || queue.begin(slot, place.fd, place.offset, request.length) !== 0) return false;
      free.pop();
      input.copy(cookies, 8 * slot, request.cookieAt, request.cookieAt + 8);
      requests[slot] = { ...request, cookieAt: 8 * slot };
      return true;
    },
    collect(finished) {
      queue.wait((slot, result) => {
        const request = requests[slot];
        if (request === undefined) return;
        requests[slot] = undefined;
        free.push(slot);
        finished({
          request,
          cookies,
          data: memory.subarray(slot * READ_SLOT_BYTES, slot * READ_SLOT_BYTES + request.length),
          whole: result === request.length,
        });
      });
    },
  };
}
