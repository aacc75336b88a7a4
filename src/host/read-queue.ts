// Reads that the kernel does by itself, through Linux AIO: many in flight from a process of one thread. Reads only: a write in
// flight could outlive the proof that its process is gone.

import type { Koffi, Libc } from './koffi.ts';

const SYS_IO_SETUP = 206;
const SYS_IO_GETEVENTS = 208;
const SYS_IO_SUBMIT = 209;

/** Slots of aligned memory that the kernel fills. */
export type ReadQueue = {
  readonly memory: Uint8Array;
  /** Where it lies. */
  readonly address: number;
  /** Begins to read into a slot; 0 or -errno. */
  begin(slot: number, fd: number, offset: number, length: number): number;
  /** Waits for at least one; calls back with each finished slot and the bytes it got (or -errno). */
  wait(finished: (slot: number, result: number) => void): void;
};

/** The first page has the control block of each submission and the events, the rest are the slots. */
export function openReadQueue(libc: Libc, koffi: Koffi, at: unknown, slots: number, slotBytes: number): ReadQueue | null {
  const setup = libc.func('long syscall(long number, uint32_t events, uint64_t *context)');
  const call = libc.func('long syscall(long number, uint64_t context, int64_t a, uint64_t b, uint64_t c, uint64_t d)');
  const base = koffi.address(at);
  const words = new DataView(koffi.view(at, 4096));
  const [CONTEXT, POINTER, BLOCK, EVENTS] = [0, 8, 64, 256];
  if (setup(SYS_IO_SETUP, slots, at) < 0) return null;
  const context = words.getBigUint64(CONTEXT, true);
  const eventsAtOnce = Math.min(slots, 64);
  words.setBigUint64(POINTER, base + BigInt(BLOCK), true);
  return {
    memory: new Uint8Array(koffi.view(at, 4096 + slots * slotBytes)).subarray(4096),
    address: Number(base) + 4096,
    begin(slot, fd, offset, length) {
      // struct iocb: data, key and flags, opcode (0 = pread), priority, fd, buffer, bytes, offset.
      words.setBigUint64(BLOCK, BigInt(slot), true);
      words.setBigUint64(BLOCK + 8, 0n, true);
      words.setUint32(BLOCK + 16, 0, true);
      words.setUint32(BLOCK + 20, fd, true);
      words.setBigUint64(BLOCK + 24, base + BigInt(4096 + slot * slotBytes), true);
      words.setBigUint64(BLOCK + 32, BigInt(length), true);
      words.setBigInt64(BLOCK + 40, BigInt(offset), true);
      const result = call(SYS_IO_SUBMIT, context, 1, base + BigInt(POINTER), 0, 0);
      return result === 1 ? 0 : -koffi.errno();
    },
    wait(finished) {
      const count = call(SYS_IO_GETEVENTS, context, 1, eventsAtOnce, base + BigInt(EVENTS), 0);
      for (let index = 0; index < count; index += 1) {
        const event = EVENTS + 32 * index;
        finished(Number(words.getBigUint64(event, true)), Number(words.getBigInt64(event + 16, true)));
      }
    },
  };
}
