// What the host asks of the kernel beyond Node, in the host's words: true or false for done or refused, null for not told. What may
// wait for a device waits in the background. Without koffi all is refused or not told, and callers take the portable way.

import { openSyscalls } from '../syscalls.ts';

const BLKZEROOUT = 0x127f;
const BLKFLSBUF = 0x1261;
const LOOP_GET_STATUS64 = 0x4c05;
const ENXIO = 6;
const EEXIST = 17;
const EAGAIN = 11;
const PAGE_BYTES = 4096;

const syscalls = openSyscalls();
const later = syscalls?.inBackground ?? null;

/** Mode: FALLOC_FL_*. */
export const fallocate = async (fd: number, mode: number, offset: number, length: number): Promise<boolean> =>
  (await later?.fallocate(fd, mode, offset, length)) === 0;

/** Writes the dirty pages of the range, and waits for them and nothing else. The device's own cache is not flushed by it. */
export const writeBackRange = async (fd: number, offset: number, length: number): Promise<boolean> => (await later?.writeBack(fd, offset, length)) === 0;

/** Sends the dirty pages of the range on their way, and does not wait for them; tells of no error of theirs. */
export const beginWriteBack = async (fd: number, offset: number, length: number): Promise<boolean> => (await later?.beginWriteBack(fd, offset, length)) === 0;

export const dropRange = async (fd: number, offset: number, length: number): Promise<boolean> => (await later?.dropCache(fd, offset, length)) === 0;

/** Writes back the range and flushes the device's own cache, waiting for no page outside. */
export const syncRange = async (fd: number, offset: number, length: number): Promise<boolean> => (await later?.syncRange(fd, offset, length)) === 0;

/** Zeros that the device vouches for, or that the kernel wrote. */
export async function zeroOutBlocks(fd: number, offset: number, length: number): Promise<boolean> {
  const range = Buffer.alloc(16);
  range.writeBigUInt64LE(BigInt(offset), 0);
  range.writeBigUInt64LE(BigInt(length), 8);
  return (await later?.ioctlBytes(fd, BLKZEROOUT, range)) === 0;
}

/** Writes back all of a node and drops its cache: waits for neighbours. */
export const flushNode = async (fd: number): Promise<boolean> => (await later?.ioctlBytes(fd, BLKFLSBUF, null)) === 0;

/** Pages of the range that the page cache of that file or node holds; null when the kernel can't tell. */
export function cachedPages(fd: number, offset: number, length: number): number | null {
  const stat = syscalls?.cachestat(fd, offset, length) ?? -1;
  if (typeof stat !== 'number') return stat.cachedPages;
  const pages = syscalls?.residentPages(fd, offset, length) ?? -1;
  return pages < 0 ? null : pages;
}

/** The filesystem's own id (statfs f_fsid) and type, readable by everybody. */
export function filesystemId(path: string): { readonly type: number; readonly id: string } | null {
  const facts = Buffer.alloc(256);
  if (syscalls?.statfs(path, facts) !== 0) return null;
  return { type: Number(facts.readBigUInt64LE(0)), id: facts.subarray(56, 64).toString('hex') };
}

/** false while another open file has the lock; true also where locks can't be had. */
export const lockFile = (fd: number): boolean => syscalls?.lockExclusive(fd) !== -EAGAIN;

/** Of a thread of this process; null where it can't be asked. */
export function ioPriority(threadId: number): number | null {
  const priority = syscalls?.ioPriority(threadId) ?? -1;
  return priority < 0 ? null : priority;
}

export const setIoPriority = (threadId: number, priority: number): boolean => syscalls?.setIoPriority(threadId, priority) === 0;

/** true also when it is there already. */
export function makeFifo(path: string): boolean {
  const result = syscalls?.mkfifo(path, 0o600);
  return result === 0 || result === -EEXIST;
}

export type LoopStatus = {
  readonly device: number;
  readonly inode: number;
  readonly rdevice: number;
  readonly offsetBytes: number;
  readonly sizeLimitBytes: number;
  readonly readOnly: boolean;
};

/** What a loop device is on, by identity; `gone` when its file no longer answers, null when it is not bound or the kernel can't be asked. */
export function loopStatus(fd: number): LoopStatus | 'gone' | null {
  const info = Buffer.alloc(232);
  const result = syscalls?.ioctlBytes(fd, LOOP_GET_STATUS64, info);
  if (result !== 0) return result === undefined || result === -ENXIO ? null : 'gone';
  const at = (offset: number): number => Number(info.readBigUInt64LE(offset));
  return { device: at(0), inode: at(8), rdevice: at(16), offsetBytes: at(24), sizeLimitBytes: at(32), readOnly: (info.readUInt32LE(52) & 1) !== 0 };
}

/** A part of a buffer that starts at a multiple of `alignBytes` in memory, as direct I/O wants it (where memory can't be asked, not aligned: direct I/O then fails). */
export function alignedBuffer(lengthBytes: number, alignBytes = PAGE_BYTES): Buffer {
  const whole = Buffer.alloc(lengthBytes + alignBytes);
  const at = syscalls?.addressOf(whole) ?? 0n;
  const skip = Number((BigInt(alignBytes) - (at % BigInt(alignBytes))) % BigInt(alignBytes));
  return whole.subarray(skip, skip + lengthBytes);
}
