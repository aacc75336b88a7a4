// A long write, written as it comes in: what is taken off the socket goes to the page cache while it is still in the processor's,
// and the client fills the socket meanwhile. A client that leaves half-way leaves half of a write that nobody acknowledged, as
// a machine that loses its power does.

import { IDLE } from './socket.ts';
import type { Socket } from './socket.ts';
import type { VbdIo } from './vbd-io.ts';

/** Taken off the socket at once: all that a client's half of it holds, mostly. The slower the filesystem takes parts, the larger they become (ext4: 7.3 to 8.9 thousand writes of 256 KiB a second at 64 and 256 KiB; memory: 6.4 to 7.4). */
const PART_BYTES = 256 * 1024;
const BLOCK_BYTES = 4096;

export type LongWrite = {
  readonly offset: number;
  readonly length: number;
  /** false: it is refused already, and only has to be read. */
  readonly wanted: boolean;
  /** So much is waited for before it is written; 0 = whatever came. */
  readonly gatherBytes: number;
};

export type Outcome = {
  /** What came behind the payload lies in input[at, end). */
  readonly at: number;
  readonly end: number;
  /** Of the first part that could not be written; what follows it is read, not written. */
  readonly error: Error | null;
};

/** As a small integer, like all places in a buffer: an offset is a floating-point number, and what is added to one becomes one. */
const intoBlock = (offset: number): number => (offset % BLOCK_BYTES) | 0;

/** The payload begins at input[at]; null when the client left before its end. */
export function streamWrite(
  socket: Socket,
  io: VbdIo,
  input: Buffer,
  at: number,
  end: number,
  { offset, length, wanted, gatherBytes }: LongWrite,
): Outcome | null {
  let error: Error | null = null;
  let failed = !wanted;
  for (let done = 0; ;) {
    const here = Math.min(end - at, length - done);
    const last = done + here === length;
    // Whole blocks, but for the end: a block written in two parts is read by the filesystem in between.
    const part = last ? here : here - intoBlock(offset + done + here);
    if (part > 0 && (part >= gatherBytes || last)) {
      try {
        if (!failed) io.write(offset + done, input, at, part);
      } catch (reason) {
        failed = true;
        error = reason instanceof Error ? reason : new Error(String(reason));
      }
      done += part;
      at += part;
    }
    if (done === length) return { at, end, error };
    if (at > 0 && at < end) input.copyWithin(0, at, end);
    end -= at;
    at = 0;
    const count = socket.read(input, end, Math.min(PART_BYTES, input.length - end), true);
    if (count === 0) return null;
    if (count !== IDLE) end += count;
  }
}
