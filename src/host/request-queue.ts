// Reads and writes that the kernel does by itself, through Linux AIO: many in flight from a process of one thread. A write in flight
// can outlive the descriptors of its process, and with them what they prove; it does not outlive the process's memory (lock-calls.ts).

import type { Koffi, Libc } from './koffi.ts';

/** io_setup(2), io_destroy(2), io_getevents(2), io_submit(2): older than the time when all machines got the same numbers. */
const SYS = process.arch === 'x64' ? { setup: 206, destroy: 207, getEvents: 208, submit: 209 } : { setup: 0, destroy: 1, submit: 2, getEvents: 4 };
const OPCODE = { read: 0, write: 1 } as const;

/** Slots of aligned memory that the kernel fills, or writes from. */
export type RequestQueue = {
  readonly memory: Uint8Array;
  /** Begins to read into a slot, or to write what it holds, at the latest when it is waited for; 0 or -errno. */
  begin(kind: keyof typeof OPCODE, slot: number, fd: number, offset: number, length: number): number;
  /** The same without waiting: what was begun is on its way behind it, and what has finished is told of. */
  poll(finished: (slot: number, result: number, late: boolean) => void): void;
  /** Waits for at least one and tells of `most` at most; calls back with each finished slot, its bytes (or -errno), and whether it was not there at once. */
  wait(finished: (slot: number, result: number, late: boolean) => void, most: number): void;
};

/** `close`: no more requests; it waits for those in flight, and the kernel has a place for one more process. The memory stays. */
export type ClosableQueue = RequestQueue & { close(): void };

/** The first page has the control block of each submission and the events, the rest are the slots. */
export function openRequestQueue(libc: Libc, koffi: Koffi, at: unknown, slots: number, slotBytes: number): ClosableQueue | null {
  const setup = libc.func('long syscall(long number, uint32_t events, uint64_t *context)');
  const call = libc.func('long syscall(long number, uint64_t context, int64_t a, uint64_t b, uint64_t c, uint64_t d)');
  // Addresses of a process and everything else here are exact as numbers: a BigInt each would be garbage to collect.
  const base = Number(koffi.address(at));
  const words = new DataView(koffi.view(at, 4096));
  const put = (to: number, value: number): void => {
    words.setUint32(to, value >>> 0, true);
    words.setUint32(to + 4, Math.floor(value / 0x1_0000_0000), true);
  };
  const [CONTEXT, POINTER, BLOCK, EVENTS] = [0, 8, 64, 256];
  if (setup(SYS.setup, slots, at) < 0) return null;
  const context = Number(words.getBigUint64(CONTEXT, true));
  const eventsAtOnce = Math.min(slots, 64);
  put(POINTER, base + BLOCK);
  return {
    memory: new Uint8Array(koffi.view(at, 4096 + slots * slotBytes)).subarray(4096),
    begin(kind, slot, fd, offset, length) {
      // struct iocb: data, key and flags, opcode, priority, fd, buffer, bytes, offset.
      put(BLOCK, slot);
      put(BLOCK + 8, 0);
      words.setUint32(BLOCK + 16, OPCODE[kind], true);
      words.setUint32(BLOCK + 20, fd, true);
      put(BLOCK + 24, base + 4096 + slot * slotBytes);
      put(BLOCK + 32, length);
      put(BLOCK + 40, offset);
      const result = call(SYS.submit, context, 1, base + POINTER, 0, 0);
      return result === 1 ? 0 : -koffi.errno();
    },
    close: () => void call(SYS.destroy, context, 0, 0, 0, 0),
    // All is on its way, and is told of when it is waited for.
    poll: () => undefined,
    wait(finished, most) {
      const count = call(SYS.getEvents, context, 1, Math.min(most, eventsAtOnce), base + EVENTS, 0);
      for (let index = 0; index < count; index += 1) {
        const event = EVENTS + 32 * index;
        // Of 64 bits each; no slot has a number, and no slot as many bytes, that 32 could not tell.
        finished(words.getUint32(event, true), words.getInt32(event + 16, true), true);
      }
    },
  };
}
