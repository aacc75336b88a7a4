// Reads that wait for the device without their process: io_uring, for files in the page cache, which Linux AIO reads one by one. What
// was begun together reaches the device together, and what is in the cache is read at once. It never writes. What is in flight holds
// its open file for a while after the process has ended: the proof that it does not any more is a lock of another open file, which is
// registered with the ring and is let go of with it (lock-calls.ts, docs/decisions/0033).
//
// Layouts and numbers: io_uring(7), <linux/io_uring.h>.

import type { Koffi, Libc } from './koffi.ts';
import type { RequestQueue } from './request-queue.ts';

const SYS_SETUP = 425;
const SYS_ENTER = 426;
const SYS_REGISTER = 427;
const REGISTER_FILES = 2;
const IORING_OFF_SQES = 0x1000_0000;
const IORING_ENTER_GETEVENTS = 1;
const IORING_FEAT_SINGLE_MMAP = 1;
/** Its workers are threads of the process, and end with it. Linux 5.12. */
const IORING_FEAT_NATIVE_WORKERS = 1 << 9;
const FEATURES = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NATIVE_WORKERS;
/** One thread only; completions are worked on when it waits for them, without an interrupt. Linux 6.1. */
const SINGLE_ISSUER_DEFER_TASKRUN = (1 << 12) | (1 << 13);
const OP_READ = 22;
const ENTRY_BYTES = 64;
const COMPLETION_BYTES = 16;
/** struct io_uring_params, and where it tells of the two rings: head, tail, mask, entries …, then the array or the completions. */
const PARAMS = { bytes: 120, entries: 0, completions: 4, flags: 8, features: 20, submit: 40, complete: 80 } as const;
const RING = { head: 0, tail: 4, mask: 8, array: 24, entries: 20 } as const;
const EINTR = 4;
const EAGAIN = 11;
const EBUSY = 16;
const EINVAL = 22;

export type RingMemory = {
  /** Shared with the kernel: `length` bytes of the ring's descriptor from `offset`; null when it can't be had. */
  mapRing(fd: number, offset: number, length: number): ArrayBuffer | null;
  /** Closed by the end of the process, or when it executes another program. */
  closeRing(fd: number): void;
};

/** `lock`: a descriptor whose lock is to last until nothing is in flight any more, after the process has ended, too. */
type Slots = { readonly memory: Uint8Array; readonly address: number; readonly count: number; readonly bytes: number; readonly lock: number };

/** null where the kernel has no io_uring for us (too old, or forbidden by kernel.io_uring_disabled). */
export function openReadRing(libc: Libc, koffi: Koffi, { mapRing, closeRing }: RingMemory, slots: Slots): RequestQueue | null {
  const setup = libc.func('long syscall(long number, uint32_t entries, _Inout_ uint8_t *params)');
  const enter = libc.func('long syscall(long number, int fd, uint32_t submit, uint32_t least, uint32_t flags, uint64_t signals, size_t size)');
  const register = libc.func('long syscall(long number, int fd, uint32_t what, _In_ int32_t *files, uint32_t count)');
  const bytes = new Uint8Array(PARAMS.bytes);
  const params = new DataView(bytes.buffer);
  params.setUint32(PARAMS.flags, SINGLE_ISSUER_DEFER_TASKRUN, true);
  const fd = setup(SYS_SETUP, slots.count, bytes);
  if (fd < 0) return null;
  const number = (at: number): number => params.getUint32(at, true);
  const arrayAt = number(PARAMS.submit + RING.array);
  const completionsAt = number(PARAMS.complete + RING.entries);
  const length = Math.max(arrayAt + 4 * number(PARAMS.entries), completionsAt + COMPLETION_BYTES * number(PARAMS.completions));
  const able = (number(PARAMS.features) & FEATURES) === FEATURES;
  const locked = able && register(SYS_REGISTER, fd, REGISTER_FILES, Int32Array.of(slots.lock), 1) === 0;
  // Whoever forbids the one call may allow the other.
  const enters = locked && enter(SYS_ENTER, fd, 0, 0, IORING_ENTER_GETEVENTS, 0, 0) === 0;
  const ring = enters ? mapRing(fd, 0, length) : null;
  const entries = ring === null ? null : mapRing(fd, IORING_OFF_SQES, ENTRY_BYTES * number(PARAMS.entries));
  if (ring === null || entries === null) {
    closeRing(fd);
    return null;
  }
  const words = new Int32Array(ring);
  const wordOf = (base: number, at: number): number => number(base + at) / 4;
  const mask = words[wordOf(PARAMS.submit, RING.mask)] ?? 0;
  for (let index = 0; index <= mask; index += 1) words[arrayAt / 4 + index] = index;
  return queueOn({
    slots,
    words,
    sqes: new DataView(entries),
    mask,
    tail: wordOf(PARAMS.submit, RING.tail),
    head: wordOf(PARAMS.complete, RING.head),
    completed: wordOf(PARAMS.complete, RING.tail),
    completionMask: words[wordOf(PARAMS.complete, RING.mask)] ?? 0,
    completions: completionsAt / 4,
    errno: () => koffi.errno(),
    enter: (submit, least) => enter(SYS_ENTER, fd, submit, least, IORING_ENTER_GETEVENTS, 0, 0),
  });
}

/** Places in `words`. */
type Ring = {
  readonly slots: Slots;
  readonly words: Int32Array;
  readonly sqes: DataView;
  readonly mask: number;
  readonly tail: number;
  readonly head: number;
  readonly completed: number;
  readonly completionMask: number;
  readonly completions: number;
  errno(): number;
  /** Begins so many and waits for so many to be completed. */
  enter(submit: number, least: number): number;
};

function queueOn({ slots, words, sqes, mask, tail, head, completed, completionMask, completions, errno, enter }: Ring): RequestQueue {
  let begun = 0;
  const put = (at: number, value: number): void => {
    sqes.setUint32(at, value >>> 0, true);
    sqes.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
  };
  const begin = (): void => {
    while (begun > 0) {
      const result = enter(begun, 0);
      if (result > 0) begun -= result;
      // For want of memory: what is under way ends first.
      else if (result === 0 || errno() !== EINTR) return;
    }
  };
  /** By slot: in which round it was begun. */
  const begunIn = new Uint32Array(slots.count);
  let round = 0;
  /** Takes of what has been completed; how many. */
  const take = (finished: (slot: number, result: number, late: boolean) => void, most: number): number => {
    const from = words[head] ?? 0;
    const count = Math.min(most, (Atomics.load(words, completed) - from) >>> 0);
    for (let index = 0; index < count; index += 1) {
      const at = completions + 4 * ((from + index) & completionMask);
      const slot = words[at] ?? 0;
      finished(slot, words[at + 2] ?? 0, begunIn[slot] !== round);
    }
    Atomics.store(words, head, from + count);
    return count;
  };
  return {
    memory: slots.memory,
    begin(kind, slot, fd, offset, length) {
      if (kind !== 'read') return -EINVAL;
      const at = (words[tail] ?? 0) & mask;
      const entry = at * ENTRY_BYTES;
      sqes.setUint32(entry, OP_READ, true);
      sqes.setInt32(entry + 4, fd, true);
      put(entry + 8, offset);
      put(entry + 16, slots.address + slot * slots.bytes);
      sqes.setUint32(entry + 24, length, true);
      put(entry + 32, slot);
      begunIn[slot] = round;
      Atomics.add(words, tail, 1);
      begun += 1;
      return 0;
    },
    poll(finished) {
      begin();
      // The kernel finishes what it has of the device when it is asked.
      enter(0, 0);
      take(finished, slots.count);
      round = (round + 1) >>> 0;
    },
    wait(finished, most) {
      begin();
      const prompt = take(finished, most);
      // What is there and not yet told of was there at once, too.
      if (words[head] === Atomics.load(words, completed)) round = (round + 1) >>> 0;
      if (prompt > 0) return;
      const result = enter(begun, 1);
      // Nothing that passes: waiting again would be for ever.
      if (result < 0 && ![EINTR, EAGAIN, EBUSY].includes(errno())) throw new Error(`io_uring_enter failed with ${errno()}`);
      begun -= Math.max(0, result);
      take(finished, most);
    },
  };
}
