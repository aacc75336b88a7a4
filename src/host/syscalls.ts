// The system calls that Node lacks, through koffi. Everything works without koffi, slower or with less proof: `openSyscalls()`
// then gives null, and callers take the portable way. A call gives -errno on failure.

import { endianness } from 'node:os';
import { bindClock } from './clock-calls.ts';
import type { ClockCalls } from './clock-calls.ts';
import { bindDescriptors } from './descriptor-calls.ts';
import type { DescriptorCalls } from './descriptor-calls.ts';
import { loadKoffi, negativeErrno } from './koffi.ts';
import type { Foreign, Koffi, Libc } from './koffi.ts';
import { bindLocks } from './lock-calls.ts';
import type { LockCalls } from './lock-calls.ts';
import { bindMemory } from './memory-calls.ts';
import type { MemoryCalls } from './memory-calls.ts';
import { bindSemaphores } from './semaphore-calls.ts';
import type { SemaphoreCalls } from './semaphore-calls.ts';

export const FALLOC_FL_KEEP_SIZE = 1;
export const FALLOC_FL_PUNCH_HOLE = 2;
export const FALLOC_FL_ZERO_RANGE = 16;
export const POSIX_FADV_WILLNEED = 3;
export const POSIX_FADV_DONTNEED = 4;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;
export const POLLHUP = 0x10;
export const POLLRDHUP = 0x2000;

const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const SHUT_RDWR = 2;
export const EINTR = 4;
export const EAGAIN = 11;
const SYNC_FILE_RANGE_WAIT_BEFORE = 1;
const SYNC_FILE_RANGE_WRITE = 2;
/** Wait before, write, wait after. */
const SYNC_FILE_RANGE_ALL = 7;
/** LOCK_EX | LOCK_NB */
const LOCK_EX_NB = 6;
/** struct timex has 208 bytes on 64-bit Linux; modes = 0 asks only. */
const TIMEX_BYTES = 256;
const SYS_CACHESTAT = 451;
const SYS_PIDFD_OPEN = 434;
const SYS_PIDFD_GETFD = 438;
/** ioprio_set(2), ioprio_get(2): older than the time when all machines got the same numbers. */
const SYS_IOPRIO = process.arch === 'x64' ? { set: 251, get: 252 } : { set: 30, get: 31 };
const IOPRIO_WHO_PROCESS = 1;

export type CacheStat = { readonly cachedPages: number; readonly dirtyPages: number; readonly writebackPages: number };

export type Syscalls = MemoryCalls &
  DescriptorCalls &
  LockCalls &
  SemaphoreCalls &
  ClockCalls & {
    /** 0 or -errno. Mode: FALLOC_FL_*. */
    fallocate(fd: number, mode: number, offset: number, length: number): number;
    /** Writes back the dirty pages of a range and waits for them; says nothing of metadata or the device's cache. 0 or -errno. */
    writeBack(fd: number, offset: number, length: number): number;
    /** -errno when a write-back of the file has failed since this open file was told last, which it is hereby; else 0. Waits for no more than the page at `offset`. */
    writeBackError(fd: number, offset: number): number;
    /** Starts reading a range into the page cache and does not wait. 0 or the error number. */
    willNeed(fd: number, offset: number, length: number): number;
    /** lseek with SEEK_DATA or SEEK_HOLE; -errno (-6: none from there on). Moves the open file's own offset. */
    seek(fd: number, offset: number, whence: number): number;
    /** read(2) and write(2) at a position, to and from memory at an address (addressOf): bytes, or -errno. */
    readAt(fd: number, address: number, length: number, position: number): number;
    writeAt(fd: number, address: number, length: number, position: number): number;
    /** From a socket to memory at an address: bytes, 0 at its end, -errno. */
    receive(fd: number, address: number, length: number): number;
    /** The same without waiting; -EAGAIN: nothing yet. */
    receiveNow(fd: number, address: number, length: number): number;
    /** Lets others go first that wait for this processor (sched_yield(2)). */
    yieldProcessor(): void;
    /** Bytes taken, or -errno (no signal when the other side is gone). */
    send(fd: number, address: number, length: number): number;
    /** Ends a connection both ways, whoever else has the socket open: its other side reads what was sent, then the end. 0 or -errno. */
    shutDown(fd: number): number;
    /** _exit(2): the process ends here and now, without Node's own end of it. */
    exitNow(status: number): void;
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
    /** The same with a structure that the kernel reads and fills; 0 or more, or -errno. */
    ioctlBytes(fd: number, request: number, bytes: Uint8Array | null): number;
    /** struct statfs of the filesystem that a path is on (at most 256 bytes); 0 or -errno. */
    statfs(path: string, bytes: Uint8Array): number;
    /** A lock on the open file, without waiting, until its last descriptor is closed; 0 or -errno (-11: another has it). */
    lockExclusive(fd: number): number;
    /** ioprio_get(2) of one thread: class in the bits from 13 on (3 = idle); or -errno. */
    ioPriority(threadId: number): number;
    /** 0 or -errno. */
    setIoPriority(threadId: number, priority: number): number;
    /** State of the kernel's clock (adjtimex(2): 5 = not synchronised), or -errno. */
    clockState(): number;
    readonly inBackground: BackgroundCalls;
  };

/** Calls that may wait for a device, on a thread of their own; the results are those of the calls that wait here. */
export type BackgroundCalls = {
  fallocate(fd: number, mode: number, offset: number, length: number): Promise<number>;
  syncRange(fd: number, offset: number, length: number): Promise<number>;
  writeBack(fd: number, offset: number, length: number): Promise<number>;
  /** Sends the dirty pages of the range on their way, and does not wait for them; tells of no error of theirs. */
  beginWriteBack(fd: number, offset: number, length: number): Promise<number>;
  dropCache(fd: number, offset: number, length: number): Promise<number>;
  ioctlBytes(fd: number, request: number, bytes: Uint8Array | null): Promise<number>;
};

/** null where koffi has no binary for this machine, or the machine lays structures out the other way. */
export function openSyscalls(): Syscalls | null {
  const koffi = endianness() === 'LE' ? loadKoffi() : null;
  if (koffi === null) return null;
  const libc = koffi.load('libc.so.6');
  const answer = (result: number): number => negativeErrno(koffi, result);
  const background = inBackground(koffi);
  const files = bindFiles(libc, answer, background);
  const memory = bindMemory(koffi, libc, answer, background);
  return {
    ...files,
    ...bindProcesses(libc, answer),
    ...memory,
    ...bindDescriptors(koffi, libc, answer),
    ...bindLocks(libc, answer),
    ...bindSemaphores(libc, answer),
    ...bindClock(koffi, libc),
    inBackground: { ...files.inBackground, syncRange: memory.syncRangeInBackground },
  };
}

type Answer = (result: number) => number;
type Background = (call: Foreign) => (...args: readonly unknown[]) => Promise<number>;

/** On a thread of koffi's, which keeps the error number for the call's end. */
function inBackground(koffi: Koffi): Background {
  // Memory that a thread reads is not to be collected meanwhile, whoever else has forgotten it.
  const underWay = new Set<readonly unknown[]>();
  return (call) =>
    (...args) =>
      new Promise((resolve, reject) => {
        underWay.add(args);
        call.async(...args, (error: Error | null, result: number) => {
          underWay.delete(args);
          if (error === null) resolve(negativeErrno(koffi, result));
          else reject(error);
        });
      });
}

type FileCalls = Omit<
  Syscalls,
  | keyof ReturnType<typeof bindProcesses>
  | keyof MemoryCalls
  | keyof DescriptorCalls
  | keyof LockCalls
  | keyof SemaphoreCalls
  | keyof ClockCalls
  | 'inBackground'
>;

function bindFiles(libc: Libc, answer: Answer, background: Background): FileCalls & { readonly inBackground: Omit<BackgroundCalls, 'syncRange'> } {
  const fallocate = libc.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)');
  const fadvise = libc.func('int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)');
  const syncFileRange = libc.func('int sync_file_range(int fd, int64_t offset, int64_t length, uint32_t flags)');
  const lseek = libc.func('int64_t lseek(int fd, int64_t offset, int whence)');
  const mkfifo = libc.func('int mkfifo(const char *path, uint32_t mode)');
  const ioctl = libc.func('int ioctl(int fd, unsigned long request, uint64_t argument)');
  const ioctlBytes = libc.func('int ioctl(int fd, unsigned long request, _Inout_ uint8_t *argument)');
  const statfs = libc.func('int statfs(const char *path, _Out_ uint8_t *facts)');
  const cachestat = libc.func('long syscall(long number, int fd, _In_ uint64_t *range, _Out_ uint64_t *stat, uint32_t flags)');
  const flock = libc.func('int flock(int fd, int operation)');
  const later = {
    fallocate: background(fallocate),
    writeBack: background(syncFileRange),
    dropCache: background(fadvise),
    ioctlBytes: background(ioctlBytes),
  };
  return {
    fallocate: (fd, mode, offset, length) => answer(fallocate(fd, mode, offset, length)),
    writeBack: (fd, offset, length) => answer(syncFileRange(fd, offset, length, SYNC_FILE_RANGE_ALL)),
    writeBackError: (fd, offset) => answer(syncFileRange(fd, offset, 1, SYNC_FILE_RANGE_WAIT_BEFORE)),
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
    ioctlBytes: (fd, request, bytes) => answer(ioctlBytes(fd, request, bytes)),
    statfs: (path, bytes) => answer(statfs(path, bytes)),
    lockExclusive: (fd) => answer(flock(fd, LOCK_EX_NB)),
    inBackground: {
      fallocate: (fd, mode, offset, length) => later.fallocate(fd, mode, offset, length),
      writeBack: (fd, offset, length) => later.writeBack(fd, offset, length, SYNC_FILE_RANGE_ALL),
      beginWriteBack: (fd, offset, length) => later.writeBack(fd, offset, length, SYNC_FILE_RANGE_WRITE),
      dropCache: (fd, offset, length) => later.dropCache(fd, offset, length, POSIX_FADV_DONTNEED),
      ioctlBytes: (fd, request, bytes) => later.ioctlBytes(fd, request, bytes),
    },
  };
}

function bindProcesses(
  libc: Libc,
  answer: Answer,
): Pick<
  Syscalls,
  | 'readAt'
  | 'writeAt'
  | 'receive'
  | 'receiveNow'
  | 'yieldProcessor'
  | 'send'
  | 'shutDown'
  | 'exitNow'
  | 'prctl'
  | 'poll'
  | 'pidfdOpen'
  | 'pidfdGetfd'
  | 'clockState'
  | 'ioPriority'
  | 'setIoPriority'
> {
  // The kernel moves less than 2^31 bytes at once: an int holds the answer, and koffi makes one in less time than 64 bits (random reads of 4 KiB one by one:
  // 38 instead of 30 to 34 thousand a second).
  const pread = libc.func('int pread(int fd, uint64_t address, size_t length, int64_t position)');
  const pwrite = libc.func('int pwrite(int fd, uint64_t address, size_t length, int64_t position)');
  const recv = libc.func('int recv(int fd, uint64_t address, size_t length, int flags)');
  const schedYield = libc.func('int sched_yield()');
  const send = libc.func('int send(int fd, uint64_t address, size_t length, int flags)');
  const shutdown = libc.func('int shutdown(int fd, int how)');
  const exit = libc.func('void _exit(int status)');
  const prctl = libc.func('int prctl(int option, uint64_t a, uint64_t b, uint64_t c, uint64_t d)');
  const pollOne = libc.func('int poll(_Inout_ uint8_t *fds, unsigned long count, int timeout)');
  const pidfdOpen = libc.func('long syscall(long number, int pid, uint32_t flags)');
  const pidfdGetfd = libc.func('long syscall(long number, int pidfd, int fd, uint32_t flags)');
  const ioprio = libc.func('long syscall(long number, int which, int who, int priority)');
  const adjtimex = libc.func('int adjtimex(_Inout_ uint8_t *timex)');
  return {
    readAt: (fd, address, length, position) => answer(pread(fd, address, length, position)),
    writeAt: (fd, address, length, position) => answer(pwrite(fd, address, length, position)),
    receive: (fd, address, length) => answer(recv(fd, address, length, 0)),
    yieldProcessor: () => void schedYield(),
    receiveNow: (fd, address, length) => answer(recv(fd, address, length, MSG_DONTWAIT)),
    send: (fd, address, length) => answer(send(fd, address, length, MSG_NOSIGNAL)),
    shutDown: (fd) => answer(shutdown(fd, SHUT_RDWR)),
    exitNow: (status) => void exit(status),
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
    ioPriority: (threadId) => answer(ioprio(SYS_IOPRIO.get, IOPRIO_WHO_PROCESS, threadId, 0)),
    setIoPriority: (threadId, priority) => answer(ioprio(SYS_IOPRIO.set, IOPRIO_WHO_PROCESS, threadId, priority)),
    clockState: () => answer(adjtimex(new Uint8Array(TIMEX_BYTES))),
  };
}
