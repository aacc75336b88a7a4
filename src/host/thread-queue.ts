// Reads and writes on threads of this process, through POSIX AIO: several writes in flight from a process of one JavaScript thread.
// The C library's threads wait in ordinary system calls, and a process has not ended, nor are its descriptors closed, before the
// last of its threads has come back from the kernel: so the end of its pipe still proves that no write can arrive any more, which
// it would not with Linux AIO or an io_uring.

import type { Foreign, Koffi, Libc } from './koffi.ts';

const EINPROGRESS = 115;
/** struct aiocb of glibc on 64-bit machines. */
const CONTROL = { bytes: 168, descriptor: 0, address: 16, length: 24, notify: 44, position: 128 } as const;
const SIGEV_NONE = 1;

export type ThreadQueue = {
  readonly lanes: number;
  /** Begins a read to, or a write from, the memory at an address, on a lane that has nothing in flight; 0 or -errno. */
  begin(kind: 'read' | 'write', lane: number, fd: number, address: number, length: number, position: number): number;
  /** Waits for at least one; calls back with each finished lane and its bytes (or -errno). */
  wait(finished: (lane: number, result: number) => void): void;
};

export type QueueMemory = { readonly bytes: ArrayBuffer; readonly address: bigint };

export const threadQueueBytes = (lanes: number): number => lanes * (CONTROL.bytes + 8);

/** null where the C library has no such calls. */
export function openThreadQueue(libc: Libc, koffi: Koffi, { bytes, address }: QueueMemory, lanes: number): ThreadQueue | null {
  const calls = bind(libc, lanes);
  if (calls === null) return null;
  const words = new DataView(bytes);
  const inFlight = new Set<number>();
  const controlAt = (lane: number): number => lane * CONTROL.bytes;
  const addressOf = (lane: number): bigint => address + BigInt(controlAt(lane));
  const listAt = lanes * CONTROL.bytes;
  const descriptorOf = laneDescriptors(calls.dup);
  return {
    lanes,
    begin(kind, lane, fd, memory, length, position) {
      const descriptor = descriptorOf(lane, fd);
      if (descriptor < 0) return -koffi.errno();
      const at = controlAt(lane);
      new Uint8Array(bytes, at, CONTROL.bytes).fill(0);
      words.setInt32(at + CONTROL.descriptor, descriptor, true);
      words.setBigUint64(at + CONTROL.address, BigInt(memory), true);
      words.setBigUint64(at + CONTROL.length, BigInt(length), true);
      words.setInt32(at + CONTROL.notify, SIGEV_NONE, true);
      words.setBigInt64(at + CONTROL.position, BigInt(position), true);
      if (calls[kind](addressOf(lane)) < 0) return -koffi.errno();
      inFlight.add(lane);
      return 0;
    },
    wait(finished) {
      let count = 0;
      for (const lane of inFlight) {
        words.setBigUint64(listAt + 8 * count, addressOf(lane), true);
        count += 1;
      }
      if (count === 0) return;
      // Ended by a signal, it is called again by who waits.
      calls.suspend(address + BigInt(listAt), count, null);
      for (const lane of inFlight) {
        const error = calls.error(addressOf(lane));
        if (error === EINPROGRESS) continue;
        const result = calls.take(addressOf(lane));
        inFlight.delete(lane);
        finished(lane, error === 0 ? result : -error);
      }
    },
  };
}

type Calls = Readonly<Record<'read' | 'write' | 'suspend' | 'error' | 'take' | 'dup', Foreign>>;

function bind(libc: Libc, lanes: number): Calls | null {
  try {
    const start = libc.func('void aio_init(const int *settings)');
    // As many threads as lanes, that wait a minute for the next request; the rest are fields that glibc does not read.
    start(Int32Array.of(lanes, lanes, 0, 0, 0, 0, 60, 0));
    return {
      read: libc.func('int aio_read64(uint64_t control)'),
      write: libc.func('int aio_write64(uint64_t control)'),
      suspend: libc.func('int aio_suspend64(uint64_t list, int count, void *timeout)'),
      error: libc.func('int aio_error64(uint64_t control)'),
      take: libc.func('int64_t aio_return64(uint64_t control)'),
      dup: libc.func('int dup(int fd)'),
    };
  } catch {
    return null;
  }
}

/** One descriptor number for each lane, all of the same open file: glibc does what has one number one after another. */
function laneDescriptors(dup: Foreign): (lane: number, fd: number) => number {
  const known = new Map<string, number>();
  return (lane, fd) => {
    const key = `${lane} ${fd}`;
    const there = known.get(key);
    if (there !== undefined) return there;
    const made = dup(fd);
    if (made >= 0) known.set(key, made);
    return made;
  };
}
