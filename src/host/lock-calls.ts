// Locks of open files (fcntl(2), F_OFD_SETLK), as a proof that the memory of a process is gone. Such a lock lasts as long as its
// open file, and that as long as a mapping of it: until the kernel takes the memory of the last thread apart. What the process had
// in flight by Linux AIO has ended before that (`__mmput` waits in `exit_aio`, then unmaps), whoever else looked into the memory
// meanwhile. Descriptors may be closed sooner.

import type { Libc } from './koffi.ts';

const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const F_WRLCK = 1;
const F_UNLCK = 2;
/** struct flock on 64-bit Linux. */
const FLOCK = { bytes: 32, type: 0, start: 8, length: 16 } as const;

export type LockCalls = {
  /** Locks one byte of an open file (writable), without waiting, until the open file has no descriptor and no mapping left; 0 or -errno (-11: another open file has it). */
  lockByte(fd: number, at: number): number;
  /** A byte of [at, end) that another open file has locked, in no order (the kernel keeps locks by their owners); null = none is. -errno where that can't be asked. */
  lockedWithin(fd: number, at: number, end: number): number | null;
};

export function bindLocks(libc: Libc, answer: (result: number) => number): LockCalls {
  const fcntl = libc.func('int fcntl(int fd, int command, _Inout_ uint8_t *lock)');
  const ask = (fd: number, command: number, start: number, length: number): { readonly result: number; readonly lock: DataView } => {
    const bytes = new Uint8Array(FLOCK.bytes);
    const lock = new DataView(bytes.buffer);
    lock.setInt16(FLOCK.type, F_WRLCK, true);
    lock.setBigInt64(FLOCK.start, BigInt(start), true);
    lock.setBigInt64(FLOCK.length, BigInt(length), true);
    return { result: answer(fcntl(fd, command, bytes)), lock };
  };
  return {
    lockByte: (fd, at) => ask(fd, F_OFD_SETLK, at, 1).result,
    lockedWithin(fd, at, end) {
      // Length 0 would be: as far as there are bytes.
      if (at >= end) return null;
      const { result, lock } = ask(fd, F_OFD_GETLK, at, end - at);
      if (result < 0) return result;
      return lock.getInt16(FLOCK.type, true) === F_UNLCK ? null : Number(lock.getBigInt64(FLOCK.start, true));
    },
  };
}
