// Makes ranges read as zeros for certain, durably. Never a bare discard. Markers are written first, and their places are read
// back from the device last: a device that only claims to have written zeros is found out, and written in full.

import { constants } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { XvdError } from '../../base/error.ts';
import { bytes, MIB, roundDown } from '../../base/units.ts';
import type { Bytes } from '../../base/units.ts';
import type { PlanDevice } from '../../core/types.ts';
import type { ByteRange } from '../host.ts';
import { readAround, writeFully } from './device-bytes.ts';
import { idleIo } from './io-priority.ts';
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE } from '../syscalls.ts';
import { fallocate, zeroOutBlocks } from './kernel-calls.ts';
import { withDevice } from './open-device.ts';
import type { OpenDevice } from './open-device.ts';
import type { SysRoots } from './sys-block.ts';

/** One step: short enough to be stopped, and to tell progress, between two. */
const STEP_BYTES = 64 * MIB;
const PLAIN_STEP_BYTES = 4 * MIB;
const MARKER_BYTES = 4096;
const MARKERS_PER_STEP = 4;

export type ZeroOptions = {
  readonly roots: SysRoots;
  readonly wipeBytesPerSecond: number | null;
  /** Leaves the device to whoever else asks for it. */
  readonly idle: boolean;
  readonly progress?: (doneBytes: Bytes) => void;
  readonly signal?: AbortSignal;
};

export async function zeroDevice(
  device: PlanDevice,
  ranges: readonly ByteRange[],
  { roots, wipeBytesPerSecond, idle, progress, signal }: ZeroOptions,
): Promise<void> {
  await withDevice(roots, device, constants.O_RDWR | constants.O_DIRECT, async (opened) => {
    using priority = idle ? idleIo() : null;
    void priority;
    let doneBytes = 0;
    const startedMs = performance.now();
    for (const step of steps(ranges, stepBytes(wipeBytesPerSecond))) {
      signal?.throwIfAborted();
      await keepBudget(wipeBytesPerSecond, doneBytes, startedMs, signal);
      await zeroStep(device, opened, step);
      doneBytes += step.lengthBytes;
      progress?.(bytes(doneBytes));
    }
    await opened.handle.sync();
  });
}

/** With a budget, steps of about a tenth of a second: what waits behind one waits no longer. */
const stepBytes = (rate: number | null): number => (rate === null ? STEP_BYTES : Math.min(STEP_BYTES, Math.max(MIB, roundDown(rate / 10, MIB))));

/** Waits until as much as was done was allowed to be done. */
async function keepBudget(rate: number | null, doneBytes: number, startedMs: number, signal: AbortSignal | undefined): Promise<void> {
  if (rate === null) return;
  const aheadMs = startedMs + (doneBytes / rate) * 1000 - performance.now();
  if (aheadMs > 0) await delay(aheadMs, undefined, signal === undefined ? {} : { signal });
}

function* steps(ranges: readonly ByteRange[], size: number): Generator<ByteRange> {
  for (const { offsetBytes, lengthBytes } of ranges) {
    for (let done = 0; done < lengthBytes; done += size) {
      yield { offsetBytes: bytes(offsetBytes + done), lengthBytes: bytes(Math.min(size, lengthBytes - done)) };
    }
  }
}

async function zeroStep(device: PlanDevice, opened: OpenDevice, step: ByteRange): Promise<void> {
  const { fd } = opened.handle;
  const places = samples(step);
  if (await writeMarkers(opened, places)) {
    const done = device.kind === 'file' ? await zeroFile(fd, step) : await zeroOutBlocks(fd, step.offsetBytes, step.lengthBytes);
    if (done) await opened.handle.datasync();
    if (done && (await readsAsZeros(device, opened, places))) return;
  } else if ((await zeroFile(fd, step)) && (await readsAsZeros(device, opened, places))) return;
  await writeZeros(opened, step);
  await opened.handle.datasync();
  if (!(await readsAsZeros(device, opened, places)))
    throw new XvdError('DEVICE_FAILED', `${device.path} does not keep the zeros that were written at byte ${step.offsetBytes}`);
}

const zeroFile = async (fd: number, { offsetBytes, lengthBytes }: ByteRange): Promise<boolean> =>
  (await fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offsetBytes, lengthBytes)) ||
  (await fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offsetBytes, lengthBytes));

/** false: the filesystem has no room for them, so they would lie in holes, and a file's holes can still be made. */
async function writeMarkers({ handle, number }: OpenDevice, places: readonly ByteRange[]): Promise<boolean> {
  try {
    for (const place of places) await writeFully(handle, marker(place.lengthBytes), place.offsetBytes);
    await handle.datasync();
    return true;
  } catch (error) {
    const full = error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
    if (full && number === null) return false;
    throw error;
  }
}

async function writeZeros({ handle }: OpenDevice, { offsetBytes, lengthBytes }: ByteRange): Promise<void> {
  for (let done = 0; done < lengthBytes; done += PLAIN_STEP_BYTES) {
    await writeFully(handle, new Uint8Array(Math.min(PLAIN_STEP_BYTES, lengthBytes - done)), offsetBytes + done);
  }
}

/** First, last, and between them. */
function samples({ offsetBytes, lengthBytes }: ByteRange): readonly ByteRange[] {
  const size = Math.min(MARKER_BYTES, lengthBytes);
  const gap = lengthBytes - size;
  const offsets = Array.from({ length: MARKERS_PER_STEP }, (_, index) => offsetBytes + roundDown((gap * index) / (MARKERS_PER_STEP - 1), 512));
  return [...new Set(offsets)].map((offset) => ({ offsetBytes: bytes(offset - (offset % 512)), lengthBytes: bytes(size) }));
}

/** Anything but zeros. */
const marker = (lengthBytes: number): Uint8Array => new Uint8Array(lengthBytes).fill(0xa5);

async function readsAsZeros(device: PlanDevice, opened: OpenDevice, places: readonly ByteRange[]): Promise<boolean> {
  for (const place of places) {
    if ((await readAround(opened, device.path, place)).some((byte) => byte !== 0)) return false;
  }
  return true;
}
