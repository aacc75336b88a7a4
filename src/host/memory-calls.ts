// System calls about memory: mappings, what the page cache holds, memory that direct I/O takes.

import { closeSync } from 'node:fs';
import { mapFailed } from './koffi.ts';
import type { Foreign, Koffi, Libc } from './koffi.ts';
import { openReadRing } from './read-ring.ts';
import { openRequestQueue } from './request-queue.ts';
import type { ClosableQueue, RequestQueue } from './request-queue.ts';

const PAGE_BYTES = 4096;
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const MS_SYNC = 4;
/** Of one mapping, when a range is only asked about. */
const WINDOW_BYTES = 1 << 30;

export type MemoryCalls = {
  /** What fsync can be asked for again and again; null when it can't be mapped. The fd must be writable. */
  mapRange(fd: number, offset: number, length: number): MappedRange | null;
  /** Memory shared with every process that maps the file; `length` bytes from its start. null when it can't be had. */
  mapShared(fd: number, length: number): ArrayBuffer | null;
  /** Reads and writes in flight, for direct I/O; null where the kernel has no Linux AIO, or no place for one more process with it. */
  openRequestQueue(slots: number, slotBytes: number): ClosableQueue | null;
  /** Reads in flight through the page cache; null where the kernel has no io_uring for us. It takes no writes. The lock of the descriptor `lock` lasts until none is in flight, whoever has ended. */
  openReadQueue(slots: number, slotBytes: number, lock: number): RequestQueue | null;
  /** Page-aligned memory, as direct I/O wants it; kept until the process ends. */
  alignedMemory(length: number): Uint8Array | null;
  /** Gives back what the C library keeps of memory that was used and is not any more. */
  trimHeap(): void;
  /** Where a buffer lies. */
  addressOf(bytes: Uint8Array): bigint;
  /** Pages of a file or node in the page cache, by mincore(2): for kernels without cachestat. -errno when it can't be mapped. */
  residentPages(fd: number, offset: number, length: number): number;
};

/** A range of a file or node, mapped for syncs only: msync of a mapping calls the filesystem's fsync with just this range; the pages themselves are never touched. */
export type MappedRange = {
  /** fsync of the range: what is dirty in it is written, and the device's cache flushed; neighbours are not waited for. 0 or -errno. */
  sync(): number;
  /** The last call. */
  unmap(): void;
};

type Background = (call: Foreign) => (...args: readonly unknown[]) => Promise<number>;
type SyncInBackground = { syncRangeInBackground(fd: number, offset: number, length: number): Promise<number> };

export function bindMemory(koffi: Koffi, libc: Libc, answer: (result: number) => number, background: Background): MemoryCalls & SyncInBackground {
  const mmap = libc.func('void *mmap(void *at, size_t length, int protection, int flags, int fd, int64_t offset)');
  const msync = libc.func('int msync(void *at, size_t length, int flags)');
  const munmap = libc.func('int munmap(void *at, size_t length)');
  const mincore = libc.func('int mincore(void *at, size_t length, _Out_ uint8_t *pages)');
  const mallocTrim = libc.func('int malloc_trim(size_t keep)');
  const msyncLater = background(msync);
  const map = (fd: number, length: number, protection: number, flags: number, offset: number): unknown => {
    const at = (mmap as (...args: unknown[]) => unknown)(null, length, protection, flags, fd, offset);
    return mapFailed(koffi, at) ? null : at;
  };
  const anonymous = (length: number): unknown => map(-1, length, PROT_READ | PROT_WRITE, MAP_PRIVATE_ANONYMOUS, 0);
  /** Whole pages around a range. */
  const mapped = (fd: number, offset: number, length: number): { at: unknown; span: number } | null => {
    const start = offset - (offset % PAGE_BYTES);
    const at = map(fd, offset + length - start, PROT_READ, MAP_SHARED, start);
    return at === null ? null : { at, span: offset + length - start };
  };
  return {
    mapRange(fd, offset, length) {
      const range = mapped(fd, offset, length);
      if (range === null) return null;
      return { sync: () => answer(msync(range.at, range.span, MS_SYNC)), unmap: () => void munmap(range.at, range.span) };
    },
    async syncRangeInBackground(fd, offset, length) {
      const range = mapped(fd, offset, length);
      if (range === null) return -koffi.errno();
      try {
        return await msyncLater(range.at, range.span, MS_SYNC);
      } finally {
        munmap(range.at, range.span);
      }
    },
    mapShared(fd, length) {
      const at = map(fd, length, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
      return at === null ? null : koffi.view(at, length);
    },
    openRequestQueue(slots, slotBytes) {
      const at = anonymous(PAGE_BYTES + slots * slotBytes);
      return at === null ? null : openRequestQueue(libc, koffi, at, slots, slotBytes);
    },
    openReadQueue: (count, slotBytes, lock) => openReads(koffi, libc, map, { count, slotBytes, lock }),
    alignedMemory(length) {
      const at = anonymous(length);
      return at === null ? null : new Uint8Array(koffi.view(at, length));
    },
    trimHeap: () => void mallocTrim(0),
    addressOf: (bytes) => koffi.address(bytes),
    residentPages(fd, offset, length) {
      let pages = 0;
      const end = offset + length;
      for (let start = offset - (offset % PAGE_BYTES); start < end; start += WINDOW_BYTES) {
        const span = Math.min(WINDOW_BYTES, end - start);
        const at = map(fd, span, PROT_READ, MAP_SHARED, start);
        if (at === null) return -koffi.errno();
        const resident = new Uint8Array(Math.ceil(span / PAGE_BYTES));
        const result = answer(mincore(at, span, resident));
        munmap(at, span);
        if (result < 0) return result;
        for (const byte of resident) pages += byte & 1;
      }
      return pages;
    },
  };
}

type Map = (fd: number, length: number, protection: number, flags: number, offset: number) => unknown;
type Reads = { readonly count: number; readonly slotBytes: number; readonly lock: number };

function openReads(koffi: Koffi, libc: Libc, map: Map, { count, slotBytes, lock }: Reads): RequestQueue | null {
  const at = map(-1, count * slotBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE_ANONYMOUS, 0);
  if (at === null) return null;
  const slots = { memory: new Uint8Array(koffi.view(at, count * slotBytes)), address: Number(koffi.address(at)), count, bytes: slotBytes, lock };
  const mapRing = (fd: number, offset: number, length: number): ArrayBuffer | null => {
    const ring = map(fd, length, PROT_READ | PROT_WRITE, MAP_SHARED, offset);
    return ring === null ? null : koffi.view(ring, length);
  };
  return openReadRing(libc, koffi, { mapRing, closeRing: closeSync }, slots);
}
