// Makes durable what any connection of a VBD has written since the last flush: own ranges only, so that no neighbour's dirty
// pages are waited for. The kernel tells a failed write-back once; from then on the VBD is poisoned, and every flush fails.

import { existsSync, fdatasyncSync, writeFileSync } from 'node:fs';
import { XvdError } from '../../base/error.ts';
import { invariant } from '../../base/invariant.ts';
import type { Segment, VbdPlan } from '../../core/types.ts';
import type { MappedRange } from '../../host/memory-calls.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import type { Dirty, SharedPage } from './shared-page.ts';

/** A file beside the plan: seen by every connection, by the daemon, and by the daemon after it. */
export type Poison = { is(): boolean; set(reason: string): void };

export function poisonFile(path: string): Poison {
  // Asked for at every flush (4 µs): another connection may have met the error that this one would not be told.
  const is = (): boolean => existsSync(path);
  return { is, set: (reason) => void (is() || writeFileSync(path, reason, { mode: 0o600 })) };
}

export type FlushOptions = {
  readonly plan: VbdPlan;
  readonly fdOf: (deviceIndex: number) => number;
  readonly syscalls: Syscalls | null;
  readonly page: SharedPage;
  readonly poison: Poison;
};

/** So many segments stay mapped from one flush to the next: mapping and unmapping are a tenth of a flush. */
const MAPPED = 64;

/** A flush, to be called again and again. */
export function makeFlush({ plan, fdOf, syscalls, page, poison }: FlushOptions): () => void {
  const ranges = new Map<number, MappedRange>();
  const segmentAt = ({ segments }: Dirty, index: number): Segment => {
    const segment = plan.segments[segments[index] ?? -1];
    invariant(segment !== undefined, 'what was written to lies in a segment');
    return segment;
  };
  const rangeOf = (index: number, { deviceIndex, offsetBytes, lengthBytes }: Segment, calls: Syscalls): MappedRange => {
    const known = ranges.get(index);
    if (known !== undefined) return known;
    const range = calls.mapRange(fdOf(deviceIndex), offsetBytes, lengthBytes);
    if (range === null) throw new XvdError('DEVICE_FAILED', 'a segment can not be mapped for its flush');
    for (const [oldest, old] of ranges) {
      if (ranges.size < MAPPED) break;
      ranges.delete(oldest);
      old.unmap();
    }
    ranges.set(index, range);
    return range;
  };
  /** Its pages; with the last segment of a device also what a filesystem and the drive still hold, which is the costly part. */
  const flushSegment = (index: number, segment: Segment, last: boolean): void => {
    if (syscalls === null) return last ? fdatasyncSync(fdOf(segment.deviceIndex)) : undefined;
    const { deviceIndex, offsetBytes, lengthBytes } = segment;
    const result = last ? rangeOf(index, segment, syscalls).sync() : syscalls.writeBack(fdOf(deviceIndex), offsetBytes, lengthBytes);
    if (result < 0) throw new XvdError('DEVICE_FAILED', `write-back failed (error ${-result})`);
  };
  /** Of each device, the dirty segment that is flushed after its others. */
  const lastOf = new Int32Array(plan.devices.length);
  let poisoned = false;
  return () => {
    // The device is not asked again.
    if (poisoned) throw new XvdError('DEVICE_FAILED', 'an earlier write-back of this VBD failed');
    const dirty = page.dirty();
    for (let index = 0; index < dirty.length; index += 1) lastOf[segmentAt(dirty, index).deviceIndex] = dirty.segments[index] ?? 0;
    try {
      for (const last of [false, true])
        for (let index = 0; index < dirty.length; index += 1) {
          const segment = segmentAt(dirty, index);
          const number = dirty.segments[index] ?? 0;
          if ((lastOf[segment.deviceIndex] === number) === last) flushSegment(number, segment, last);
        }
    } catch (error) {
      poisoned = true;
      poison.set((error as Error).message);
      throw error;
    }
    // Also of an earlier flush, and what another connection met meanwhile may be about our ranges.
    poisoned = poison.is();
    if (poisoned) throw new XvdError('DEVICE_FAILED', 'a write-back of this VBD failed');
    page.flushed(dirty);
  };
}
