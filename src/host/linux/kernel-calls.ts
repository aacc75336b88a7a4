// System calls that the host needs and Node lacks, through koffi. What may wait for a device runs on koffi's threads.

import { endianness } from 'node:os';
import koffi from 'koffi';
import { invariant } from '../../base/invariant.ts';

const libc = koffi.load(null);
const fallocate_ = libc.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)');
const fadvise_ = libc.func('int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)');
const syncRange_ = libc.func('int sync_file_range(int fd, int64_t offset, int64_t length, unsigned int flags)');
const ioctl_ = libc.func('int ioctl(int fd, unsigned long request, void *argument)');
const syscall_ = libc.func('long syscall(long number, long a, void *b, void *c, long d)');
const mmap_ = libc.func('void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)');
const munmap_ = libc.func('int munmap(void *address, size_t length)');
const msync_ = libc.func('int msync(void *address, size_t length, int flags)');
const statfs_ = libc.func('int statfs(const char *path, void *buffer)');
const mkfifo_ = libc.func('int mkfifo(const char *path, unsigned int mode)');
const mincore_ = libc.func('int mincore(void *address, size_t length, void *vector)');

invariant(endianness() === 'LE', 'structures are laid out for little-endian machines');

const CACHESTAT = 451;
export const FALLOC = { keepSize: 1, punchHole: 2, zeroRange: 16 } as const;
const SYNC_RANGE_ALL = 1 | 2 | 4; // wait before, write, wait after
const DONTNEED = 4;
const BLKZEROOUT = 0x127f;
const BLKFLSBUF = 0x1261;
const LOOP_GET_STATUS64 = 0x4c05;
const PAGE_BYTES = 4096;

type Func = ReturnType<typeof libc.func>;
const call = (func: Func, ...args: readonly unknown[]): Promise<number> =>
  new Promise((resolve, reject) => {
    func.async(...args, (error: Error | null, result: number) => (error === null ? resolve(result) : reject(error)));
  });

/** true when done, false when the kernel refused. */
export const fallocate = async (fd: number, mode: number, offset: number, length: number): Promise<boolean> =>
  (await call(fallocate_, fd, mode, offset, length)) === 0;

/** Writes the dirty pages of the range, and waits for them and nothing else. The device's own cache is not flushed by it. */
export const writeBackRange = async (fd: number, offset: number, length: number): Promise<boolean> =>
  (await call(syncRange_, fd, offset, length, SYNC_RANGE_ALL)) === 0;

export const dropRange = async (fd: number, offset: number, length: number): Promise<boolean> => (await call(fadvise_, fd, offset, length, DONTNEED)) === 0;

/** Zeros that the device vouches for, or that the kernel wrote. */
export async function zeroOutBlocks(fd: number, offset: number, length: number): Promise<boolean> {
  const range = Buffer.alloc(16);
  range.writeBigUInt64LE(BigInt(offset), 0);
  range.writeBigUInt64LE(BigInt(length), 8);
  return (await call(ioctl_, fd, BLKZEROOUT, range)) === 0;
}

/** Writes back all of a node and drops its cache: waits for neighbours. */
export const flushNode = async (fd: number): Promise<boolean> => (await call(ioctl_, fd, BLKFLSBUF, null)) === 0;

/** Pages of the range that the page cache of that file or node holds; null when the kernel can't tell. */
export function cachedPages(fd: number, offset: number, length: number): number | null {
  const range = Buffer.alloc(16);
  range.writeBigUInt64LE(BigInt(offset), 0);
  range.writeBigUInt64LE(BigInt(length), 8);
  const stat = Buffer.alloc(40);
  if (Number(syscall_(CACHESTAT, fd, range, stat, 0)) === 0) return Number(stat.readBigUInt64LE(0));
  return mincorePages(fd, offset, length);
}

const MAP_WINDOW_BYTES = 1 << 30;

function mincorePages(fd: number, offset: number, length: number): number | null {
  let pages = 0;
  const end = offset + length;
  for (let at = offset - (offset % PAGE_BYTES); at < end; at += MAP_WINDOW_BYTES) {
    const size = Math.min(MAP_WINDOW_BYTES, end - at);
    const address: unknown = mmap_(null, size, 1, 1, fd, at);
    if (koffi.address(address) === 0xffff_ffff_ffff_ffffn) return null;
    const vector = Buffer.alloc(Math.ceil(size / PAGE_BYTES));
    const failed = mincore_(address, size, vector) !== 0;
    munmap_(address, size);
    if (failed) return null;
    for (const byte of vector) pages += byte & 1;
  }
  return pages;
}

/** Writes back the range and flushes the device's own cache, waiting for no page outside; the file is open for writing. */
export async function syncRange(fd: number, offset: number, length: number): Promise<boolean> {
  const start = offset - (offset % PAGE_BYTES);
  const size = offset + length - start;
  const address: unknown = mmap_(null, size, 3, 1, fd, start);
  if (koffi.address(address) === 0xffff_ffff_ffff_ffffn) return false;
  try {
    return (await call(msync_, address, size, 4)) === 0;
  } finally {
    munmap_(address, size);
  }
}

/** The filesystem's own id (statfs f_fsid) and type, readable by everybody. */
export function filesystemId(path: string): { readonly type: number; readonly id: string } | null {
  const buffer = Buffer.alloc(256);
  if (statfs_(path, buffer) !== 0) return null;
  return { type: Number(buffer.readBigUInt64LE(0)), id: buffer.subarray(56, 64).toString('hex') };
}

/** true also when it is there already. */
export const makeFifo = (path: string): boolean => mkfifo_(path, 0o600) === 0 || koffi.errno() === koffi.os.errno['EEXIST'];

export type LoopStatus = {
  readonly device: number;
  readonly inode: number;
  readonly rdevice: number;
  readonly offsetBytes: number;
  readonly sizeLimitBytes: number;
  readonly readOnly: boolean;
};

/** What a loop device is on, by identity; `gone` when its file no longer answers, null when it is not bound. */
export function loopStatus(fd: number): LoopStatus | 'gone' | null {
  const info = Buffer.alloc(232);
  if (ioctl_(fd, LOOP_GET_STATUS64, info) !== 0) return koffi.errno() === koffi.os.errno['ENXIO'] ? null : 'gone';
  const at = (offset: number): number => Number(info.readBigUInt64LE(offset));
  return { device: at(0), inode: at(8), rdevice: at(16), offsetBytes: at(24), sizeLimitBytes: at(32), readOnly: (info.readUInt32LE(52) & 1) !== 0 };
}

/** A part of a buffer that starts at a multiple of `alignBytes` in memory, as direct I/O wants it. */
export function alignedBuffer(lengthBytes: number, alignBytes = PAGE_BYTES): Buffer {
  const whole = Buffer.alloc(lengthBytes + alignBytes);
  const skip = Number((BigInt(alignBytes) - (koffi.address(whole) % BigInt(alignBytes))) % BigInt(alignBytes));
  return whole.subarray(skip, skip + lengthBytes);
}
