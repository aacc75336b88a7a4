// Reads and writes of one VBD on its devices, through the descriptors that the daemon opened. Blocking, as its process is.
// What was written since the last flush is kept as ranges, so that a flush waits for them and for no neighbour's pages.

import { eachPiece, makeMap, segmentAt } from '../../core/extent-map.ts';
import type { VbdPlan } from '../../core/types.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import type { Place } from './ahead-queue.ts';
import { blockStatus } from './block-status.ts';
import type { Extents } from './block-status.ts';
import { makeDeviceIo } from './device-io.ts';
import { makeFlush } from './flush-vbd.ts';
import type { Poison } from './flush-vbd.ts';
import type { SharedPage } from './shared-page.ts';
import type { Staging } from './staging.ts';
import { makeZeroPieces } from './zero-pieces.ts';
import type { HowToZero, Piece } from './zero-pieces.ts';

export type VbdIo = {
  /** Fills `length` bytes of the buffer from `at`. */
  read(offset: number, buffer: Buffer, at: number, length: number): void;
  write(offset: number, buffer: Buffer, at: number, length: number): void;
  /** false = it would be no faster than writing, which the caller asked not to do: nothing has been changed. */
  zero(offset: number, length: number, how: HowToZero): boolean;
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
  readonly witnesses: readonly number[];
  readonly syscalls: Syscalls | null;
  readonly page: SharedPage;
  readonly poison: Poison;
  /** For devices that are open for direct I/O; null = through the page cache. */
  readonly staging: Staging | null;
};

export function openVbdIo({ plan, fds, witnesses, syscalls, page, poison, staging }: VbdIoOptions): VbdIo {
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
  const zeroPieces = makeZeroPieces({ plan, fdOf, syscalls, write, mark: (segment) => page.mark(segment) });
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
    flush: makeFlush({ plan, fdOf, witnesses, syscalls, page, poison }),
    zero(offset, length, how) {
      const pieces: Piece[] = [];
      eachPiece(map, offset, length, (device, deviceOffset, _, piece, segment) => pieces.push({ device, deviceOffset, length: piece, segment }));
      return zeroPieces(pieces, how);
    },
  };
}
