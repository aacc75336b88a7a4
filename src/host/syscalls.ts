// The system calls that Node lacks, through koffi; all of them, in this one file. Everything works without koffi, slower or
// with less proof: `openSyscalls()` then gives null, and callers take the portable way. A call gives -errno on failure.

import { createRequire } from 'node:module';

export const FALLOC_FL_KEEP_SIZE = 1;
export const FALLOC_FL_PUNCH_HOLE = 2;
export const FALLOC_FL_ZERO_RANGE = 16;
export const POSIX_FADV_WILLNEED = 3;
export const POSIX_FADV_DONTNEED = 4;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;
export const POLLHUP = 0x10;

const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const MS_SYNC = 4;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const MSG_DONTWAIT = 0x40;
/** Wait before, write, wait after. */
const SYNC_FILE_RANGE_ALL = 7;
/** LOCK_EX | LOCK_NB */
const LOCK_EX_NB = 6;
/** struct timex has 208 bytes on 64-bit Linux; modes = 0 asks only. */
const TIMEX_BYTES = 256;
const SYS_IO_SETUP = 206;
const SYS_IO_SUBMIT = 209;
const SYS_IO_GETEVENTS = 208;
const SYS_CACHESTAT = 451;
const SYS_PIDFD_OPEN = 434;
const SYS_PIDFD_GETFD = 438;

export type CacheStat = { readonly cachedPages: number; readonly dirtyPages: number; readonly writebackPages: number };

export type Syscalls = {
  /** 0 or -errno. Mode: FALLOC_FL_*. */
  fallocate(fd: number, mode: number, offset: number, length: number): number;
  /** fsync of a range: what is dirty in it is written, and the device's cache flushed; neighbours are not waited for. The fd must be writable. 0 or -errno. */
  syncRange(fd: number, offset: number, length: number): number;
  /** Writes back the dirty pages of a range and waits for them; says nothing of metadata or the device's cache. 0 or -errno. */
  writeBack(fd: number, offset: number, length: number): number;
  /** Starts reading a range into the page cache and does not wait. 0 or the error number. */
  willNeed(fd: number, offset: number, length: number): number;
  /** lseek with SEEK_DATA or SEEK_HOLE; -errno (-6: none from there on). Moves the open file's own offset. */
  seek(fd: number, offset: number, whence: number): number;
  /** What a socket holds now, without waiting: bytes, 0 at its end, -errno (-11: nothing yet). */
  receiveNow(fd: number, buffer: Uint8Array): number;
  prctl(option: number, argument: number): number;
  /** 0 or the error number (not negative: posix_fadvise's own way). */
  dropCache(fd: number, offset: number, length: number): number;
  /** What the page cache holds of a range (Linux 6.5); -errno where the kernel has not got it. */
  cachestat(fd: number, offset: number, length: number): CacheStat | number;
  /** Events of one descriptor, now. */
  poll(fd: number, events: number): number;
  mkfifo(path: string, mode: number): number;
  /** A descriptor, or -errno. */
  pidfdOpen(pid: number): number;
  /** The same open file as descriptor `fd` of the process; a descriptor, or -errno. */
  pidfdGetfd(pidfd: number, fd: number): number;
  ioctl(fd: number, request: number, argument: number): number;
  /** A lock on the open file, without waiting, until its last descriptor is closed; 0 or -errno (-11: another has it). */
  lockExclusive(fd: number): number;
  /** State of the kernel's clock (adjtimex(2): 5 = not synchronised), or -errno. */
  clockState(): number;
  /** Memory shared with every process that maps the file; `length` bytes from its start. null when it can't be had. */
  mapShared(fd: number, length: number): ArrayBuffer | null;
  /** Reads in flight, for direct I/O (x86-64 only; null elsewhere). */
  openReadQueue(slots: number, slotBytes: number): ReadQueue | null;
  /** Page-aligned memory, as direct I/O wants it; kept until the process ends. */
  alignedMemory(length: number): Uint8Array | null;
};

/** Slots of aligned memory that the kernel fills by itself. Reads only: a write in flight could outlive the proof that its process is gone. */
export type ReadQueue = {
  readonly memory: Uint8Array;
  /** Begins to read into a slot; 0 or -errno. */
  begin(slot: number, fd: number, offset: number, length: number): number;
  /** Waits for at least one; calls back with each finished slot and the bytes it got (or -errno). */
  wait(finished: (slot: number, result: number) => void): void;
};

type Foreign = (...args: unknown[]) => number;
type Koffi = {
  load(path: string): { func(signature: string): Foreign & ((...args: unknown[]) => unknown) };
  errno(): number;
  address(pointer: unknown): bigint;
  view(pointer: unknown, length: number): ArrayBuffer;
};

/** null where koffi has no binary for this machine. */
export function openSyscalls(): Syscalls | null {
  try {
    return bind(createRequire(import.meta.url)('koffi') as Koffi);
  } catch {
    return null;
  }
}

type Libc = ReturnType<Koffi['load']>;
type Answer = (result: number) => number;

function bind(koffi: Koffi): Syscalls {
  const libc = koffi.load('libc.so.6');
  const answer = (result: number): number => (result < 0 ? -koffi.errno() : result);
  return { ...bindFiles(libc, answer), ...bindProcesses(libc, answer), ...bindMemory(koffi, libc, answer) };
}

function bindFiles(libc: Libc, answer: Answer): Omit<Syscalls, keyof ReturnType<typeof bindMemory> | keyof ReturnType<typeof bindProcesses>> {
  const fallocate = libc.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)');
  const fadvise = libc.func('int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)');
  const syncFileRange = libc.func('int sync_file_range(int fd, int64_t offset, int64_t length, uint32_t flags)');
  const lseek = libc.func('int64_t lseek(int fd, int64_t offset, int whence)');
  const mkfifo = libc.func('int mkfifo(const char *path, uint32_t mode)');
  const ioctl = libc.func('int ioctl(int fd, unsigned long request, uint64_t argument)');
  const cachestat = libc.func('long syscall(long number, int fd, _In_ uint64_t *range, _Out_ uint64_t *stat, uint32_t flags)');
  const flock = libc.func('int flock(int fd, int operation)');
  return {
    fallocate: (fd, mode, offset, length) => answer(fallocate(fd, mode, offset, length)),
    writeBack: (fd, offset, length) => answer(syncFileRange(fd, offset, length, SYNC_FILE_RANGE_ALL)),
    willNeed: (fd, offset, length) => fadvise(fd, offset, length, POSIX_FADV_WILLNEED),
    seek: (fd, offset, whence) => answer(lseek(fd, offset, whence)),
    dropCache: (fd, offset, length) => fadvise(fd, offset, length, POSIX_FADV_DONTNEED),
    cachestat(fd, offset, length) {
      const stat = new BigUint64Array(5);
      const result = answer(cachestat(SYS_CACHESTAT, fd, BigUint64Array.of(BigInt(offset), BigInt(length)), stat, 0));
      if (result < 0) return result;
      return { cachedPages: Number(stat[0]), dirtyPages: Number(stat[1]), writebackPages: Number(stat[2]) };
    },
    mkfifo: (path, mode) => answer(mkfifo(path, mode)),
    ioctl: (fd, request, argument) => answer(ioctl(fd, request, argument)),
    lockExclusive: (fd) => answer(flock(fd, LOCK_EX_NB)),
  };
}

function bindProcesses(libc: Libc, answer: Answer): Pick<Syscalls, 'receiveNow' | 'prctl' | 'poll' | 'pidfdOpen' | 'pidfdGetfd' | 'clockState'> {
  const recv = libc.func('int64_t recv(int fd, _Out_ uint8_t *buffer, size_t length, int flags)');
  const prctl = libc.func('int prctl(int option, uint64_t a, uint64_t b, uint64_t c, uint64_t d)');
  const pollOne = libc.func('int poll(_Inout_ uint8_t *fds, unsigned long count, int timeout)');
  const pidfdOpen = libc.func('long syscall(long number, int pid, uint32_t flags)');
  const pidfdGetfd = libc.func('long syscall(long number, int pidfd, int fd, uint32_t flags)');
  const adjtimex = libc.func('int adjtimex(_Inout_ uint8_t *timex)');
  return {
    receiveNow: (fd, buffer) => answer(recv(fd, buffer, buffer.length, MSG_DONTWAIT)),
    prctl: (option, argument) => answer(prctl(option, argument, 0, 0, 0)),
    poll(fd, events) {
      const entry = new Uint8Array(8);
      const view = new DataView(entry.buffer);
      view.setInt32(0, fd, true);
      view.setInt16(4, events, true);
      return pollOne(entry, 1, 0) > 0 ? view.getUint16(6, true) : 0;
    },
    pidfdOpen: (pid) => answer(pidfdOpen(SYS_PIDFD_OPEN, pid, 0)),
    pidfdGetfd: (pidfd, fd) => answer(pidfdGetfd(SYS_PIDFD_GETFD, pidfd, fd, 0)),
    clockState: () => answer(adjtimex(new Uint8Array(TIMEX_BYTES))),
  };
}

function bindMemory(koffi: Koffi, libc: Libc, answer: Answer): Pick<Syscalls, 'syncRange' | 'mapShared' | 'openReadQueue' | 'alignedMemory'> {
  const mmap = libc.func('void *mmap(void *at, size_t length, int protection, int flags, int fd, int64_t offset)');
  const msync = libc.func('int msync(void *at, size_t length, int flags)');
  const munmap = libc.func('int munmap(void *at, size_t length)');
  const map = (fd: number, length: number, protection: number, flags: number, offset: number): unknown => {
    const at = (mmap as (...args: unknown[]) => unknown)(null, length, protection, flags, fd, offset);
    return isFailed(at) ? null : at;
  };
  return {
    syncRange(fd, offset, length) {
      // msync of a mapping calls the filesystem's fsync with just this range; the pages themselves are never touched.
      const start = offset - (offset % 4096);
      const span = offset + length - start;
      const at = map(fd, span, PROT_READ, MAP_SHARED, start);
      if (at === null) return -koffi.errno();
      const result = answer(msync(at, span, MS_SYNC));
      munmap(at, span);
      return result;
    },
    mapShared(fd, length) {
      const at = map(fd, length, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
      return at === null ? null : koffi.view(at, length);
    },
    openReadQueue(slots, slotBytes) {
      const at = process.arch === 'x64' ? map(-1, 4096 + slots * slotBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE_ANONYMOUS, 0) : null;
      return at === null ? null : openReadQueue(libc, koffi, at, slots, slotBytes);
    },
    alignedMemory(length) {
      const at = map(-1, length, PROT_READ | PROT_WRITE, MAP_PRIVATE_ANONYMOUS, 0);
      return at === null ? null : new Uint8Array(koffi.view(at, length));
    },
  };
}

/** Linux AIO: the first page has the control block of each submission and the events, the rest are the slots. */
function openReadQueue(libc: Libc, koffi: Koffi, at: unknown, slots: number, slotBytes: number): ReadQueue | null {
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

/** MAP_FAILED is all ones. */
function isFailed(pointer: unknown): boolean {
  return pointer === null || pointer === -1n || pointer === 0xffffffffffffffffn;
}
