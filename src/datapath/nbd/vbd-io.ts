// Reads and writes of one VBD on its devices, through the descriptors that the daemon opened. Blocking, as its process is.
// What was written since the last flush is kept as ranges, so that a flush waits for them and for no neighbour's pages.

import { eachPiece, makeMap, segmentAt } from '../../core/extent-map.ts';
import type { VbdPlan } from '../../core/types.ts';
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE } from '../../host/syscalls.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { blockStatus } from './block-status.ts';
import type { Extents } from './block-status.ts';
import { makeDeviceIo } from './device-io.ts';
import type { DeviceIo } from './device-io.ts';
import { makeFlush } from './flush-vbd.ts';
import type { Poison } from './flush-vbd.ts';
import type { SharedPage } from './shared-page.ts';
import type { Place } from './direct-queue.ts';
import type { Staging } from './staging.ts';

export type VbdIo = {
  /** Fills `length` bytes of the buffer from `at`. */
  read(offset: number, buffer: Buffer, at: number, length: number): void;
  write(offset: number, buffer: Buffer, at: number, length: number): void;
  /** false = it would be no faster than writing, which the caller asked not to do. */
  zero(offset: number, length: number, how: { readonly mayPunch: boolean; readonly fastOnly: boolean }): boolean;
  /** Durable on every device: all that any connection of the VBD had written when it was called. */
  flush(): void;
  /** For requests that this process does not wait for. */
  placeOf(offset: number, length: number): Place;
  /** A read of the range will come: whatever can begin now begins. */
  expect(offset: number, length: number): void;
  /** Pairs of length and flags, of at most `most` extents. */
  status(context: string, range: { readonly offset: number; readonly length: number }, most: number): Extents;
};

export type VbdIoOptions = {
  readonly plan: VbdPlan;
  /** Of plan.devices, in their order. */
  readonly fds: readonly number[];
  readonly syscalls: Syscalls | null;
  readonly page: SharedPage;
  readonly poison: Poison;
  /** For devices that are open for direct I/O; null = through the page cache. */
  readonly staging: Staging | null;
};

const ZEROES_BYTES = 1024 * 1024;

export function openVbdIo({ plan, fds, syscalls, page, poison, staging }: VbdIoOptions): VbdIo {
  const map = makeMap(plan.segments);
  const { readAll, writeAll } = makeDeviceIo(syscalls);
  const fdOf = (deviceIndex: number): number => {
    const fd = fds[deviceIndex];
    if (fd === undefined) throw new RangeError(`no descriptor for device ${deviceIndex}`);
    return fd;
  };
  /** The segment that holds all of the range, else -1. Nearly every request has one, and needs no visitor of pieces. */
  const holderOf = (offset: number, length: number): number => {
    const index = segmentAt(map, offset);
    const segment = plan.segments[index];
    return segment !== undefined && offset - (map.starts[index] ?? 0) + length <= segment.lengthBytes ? index : -1;
  };
  const { read, write } = staging ?? { read: readAll, write: writeAll };
  const readPiece = (device: number, deviceOffset: number, buffer: Buffer, at: number, length: number): void =>
    read(fdOf(device), buffer, at, length, deviceOffset);
  const writePiece = (device: number, deviceOffset: number, buffer: Buffer, at: number, length: number, segment: number): void => {
    try {
      write(fdOf(device), buffer, at, length, deviceOffset);
    } finally {
      page.mark(segment);
    }
  };
  const zeroPiece = zeroing(syscalls, writeAll, staging);
  return {
    read(offset, buffer, at, length) {
      const index = holderOf(offset, length);
      const holder = plan.segments[index];
      if (holder !== undefined) return readPiece(holder.deviceIndex, holder.offsetBytes + offset - (map.starts[index] ?? 0), buffer, at, length);
      eachPiece(map, offset, length, (device, deviceOffset, done, piece) => readPiece(device, deviceOffset, buffer, at + done, piece));
    },
    write(offset, buffer, at, length) {
      const index = holderOf(offset, length);
      const holder = plan.segments[index];
      if (holder !== undefined) return writePiece(holder.deviceIndex, holder.offsetBytes + offset - (map.starts[index] ?? 0), buffer, at, length, index);
      eachPiece(map, offset, length, (device, deviceOffset, done, piece, segment) => writePiece(device, deviceOffset, buffer, at + done, piece, segment));
    },
    expect(offset, length) {
      if (syscalls === null || staging !== null) return;
      eachPiece(map, offset, length, (device, deviceOffset, _, piece) => syscalls.willNeed(fdOf(device), deviceOffset, piece));
    },
    placeOf(offset, length) {
      const index = holderOf(offset, length);
      const segment = plan.segments[index];
      if (segment === undefined) return null;
      return { fd: fdOf(segment.deviceIndex), offset: segment.offsetBytes + offset - (map.starts[index] ?? 0), segment: index };
    },
    status: (context, range, most) => blockStatus({ plan, map, fdOf, syscalls }, context, range, most),
    flush: makeFlush({ plan, fdOf, syscalls, page, poison }),
    zero(offset, length, { mayPunch, fastOnly }) {
      let done = true;
      eachPiece(map, offset, length, (device, deviceOffset, _, piece, segment) => {
        if (!done) return;
        try {
          done = zeroPiece(fdOf(device), plan.devices[device]?.kind === 'file', { deviceOffset, length: piece, mayPunch, fastOnly });
        } finally {
          page.mark(segment);
        }
      });
      return done;
    },
  };
}

type Zeroes = { readonly deviceOffset: number; readonly length: number; readonly mayPunch: boolean; readonly fastOnly: boolean };
type ZeroPiece = (fd: number, isFile: boolean, zeroes: Zeroes) => boolean;

/** By the filesystem or the drive where it can, else by writing zeros; false where only that is left and not wanted. */
function zeroing(syscalls: Syscalls | null, writeAll: DeviceIo['writeAll'], staging: Staging | null): ZeroPiece {
  // Most connections never need it, and it is a megabyte.
  let zeroes: Buffer | null = null;
  return (fd, isFile, { deviceOffset, length, mayPunch, fastOnly }) => {
    const punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    if (syscalls !== null && mayPunch && syscalls.fallocate(fd, punch, deviceOffset, length) === 0) return true;
    // For a drive that has no way of its own the kernel would write zeros here, as slowly as anybody.
    if (fastOnly && !isFile) return false;
    if (syscalls !== null && syscalls.fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, deviceOffset, length) === 0) return true;
    if (fastOnly) return false;
    zeroes ??= Buffer.alloc(ZEROES_BYTES);
    for (let done = 0; done < length; done += zeroes.length) {
      const part = Math.min(zeroes.length, length - done);
      if (staging === null) writeAll(fd, zeroes, 0, part, deviceOffset + done);
      else staging.write(fd, zeroes, 0, part, deviceOffset + done);
    }
    return true;
  };
}
