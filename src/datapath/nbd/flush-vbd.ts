// Makes durable what any connection of a VBD has written since the last flush: own ranges only, so that no neighbour's dirty
// pages are waited for. The kernel tells a failed write-back once; from then on the VBD is poisoned, and every flush fails.
//
// All connections flush by the same open files, so the one that is told may be killed before it has told anyone: while it
// waited in the kernel for a drive that dies, say. Whoever finds another one flushing, or dead in a flush, therefore asks the
// witnesses: an open file more of each device, that nothing is flushed by, which the kernel tells the same failure once.

import { existsSync, fdatasyncSync, statSync, writeFileSync } from 'node:fs';
import { XvdError } from '../../base/error.ts';
import { invariant } from '../../base/invariant.ts';
import type { Segment, VbdPlan } from '../../core/types.ts';
import type { MappedRange } from '../../host/memory-calls.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import type { Dirty, SharedPage } from './shared-page.ts';

/** Seen by every connection, by the daemon, and by the daemon after it. */
export type Poison = { is(): boolean; set(reason: string): void };

/** Two things: a word of the page, which can't fail and comes first, and a file beside the plan, which tells the daemon why. */
export function makePoison(page: SharedPage, path: string): Poison {
  // On a full filesystem there is an empty file, or none: the next one to be refused a flush tries again.
  const told = (): boolean => (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 0;
  return {
    // Asked for at every flush: another connection may have met the error that this one would not be told.
    is: () => page.poisoned() || existsSync(path),
    set(reason) {
      page.poison();
      try {
        if (!told()) writeFileSync(path, reason, { mode: 0o600 });
      } catch {} // the flush fails as it is
    },
  };
}

export type FlushOptions = {
  readonly plan: VbdPlan;
  readonly fdOf: (deviceIndex: number) => number;
  /** Of plan.devices, in their order; empty where there are none. */
  readonly witnesses: readonly number[];
  readonly syscalls: Syscalls | null;
  readonly page: SharedPage;
  readonly poison: Poison;
};

/** So many segments stay mapped from one flush to the next: mapping and unmapping are a tenth of a flush. */
const MAPPED = 64;

/** A flush, to be called again and again. */
export function makeFlush({ plan, fdOf, witnesses, syscalls, page, poison }: FlushOptions): () => void {
  const ranges = new Map<number, MappedRange>();
  const segmentAt = ({ segments }: Dirty, index: number): Segment => {
    const segment = plan.segments[segments[index] ?? -1];
    invariant(segment !== undefined, 'what was written to lies in a segment');
    return segment;
  };
  const rangeOf = (index: number, { deviceIndex, offsetBytes, lengthBytes }: Segment, calls: Syscalls): MappedRange | null => {
    const known = ranges.get(index);
    if (known !== undefined) return known;
    const range = calls.mapRange(fdOf(deviceIndex), offsetBytes, lengthBytes);
    for (const [oldest, old] of ranges) {
      if (range !== null && ranges.size < MAPPED) break;
      ranges.delete(oldest);
      old.unmap();
    }
    if (range !== null) ranges.set(index, range);
    return range;
  };
  /** Its pages; with the last segment of a device also what a filesystem and the drive still hold, which is the costly part. */
  const flushSegment = (index: number, segment: Segment, last: boolean): void => {
    const { deviceIndex, offsetBytes, lengthBytes } = segment;
    const range = last && syscalls !== null ? rangeOf(index, segment, syscalls) : null;
    // Without a mapping (no room for it, say) the whole device: slower, as true.
    if (last && range === null) return fdatasyncSync(fdOf(deviceIndex));
    const result = range?.sync() ?? syscalls?.writeBack(fdOf(deviceIndex), offsetBytes, lengthBytes) ?? 0;
    if (result < 0) throw new XvdError('DEVICE_FAILED', `write-back failed (error ${-result})`);
  };
  /** Of each device, the dirty segment that is flushed after its others. */
  const lastOf = new Int32Array(plan.devices.length);
  /** Where each witness is asked: at a page of the VBD's own. */
  const askedAt = witnesses.map((_, device) => plan.segments.find(({ deviceIndex }) => deviceIndex === device)?.offsetBytes ?? 0);
  const askWitnesses = (): void => {
    for (const [device, fd] of witnesses.entries()) {
      const result = syscalls?.writeBackError(fd, askedAt[device] ?? 0) ?? 0;
      if (result < 0) throw new XvdError('DEVICE_FAILED', `write-back failed (error ${-result})`);
    }
  };
  let failure: string | null = null;
  const refuse = (reason: string): never => {
    failure = reason;
    poison.set(reason);
    throw new XvdError('DEVICE_FAILED', reason);
  };
  return () => {
    // The device is not asked again.
    if (failure !== null) refuse(failure);
    const others = page.flushing() > 0;
    page.beginFlush();
    const dirty = page.dirty();
    for (let index = 0; index < dirty.length; index += 1) lastOf[segmentAt(dirty, index).deviceIndex] = dirty.segments[index] ?? 0;
    try {
      for (const last of [false, true])
        for (let index = 0; index < dirty.length; index += 1) {
          const segment = segmentAt(dirty, index);
          const number = dirty.segments[index] ?? 0;
          if ((lastOf[segment.deviceIndex] === number) === last) flushSegment(number, segment, last);
        }
      if (others || page.flushing() > 1) askWitnesses();
    } catch (error) {
      refuse((error as Error).message);
    }
    // Also of an earlier flush, and what another connection met meanwhile may be about our ranges.
    if (poison.is()) refuse('a write-back of this VBD failed');
    page.flushed(dirty);
    page.endFlush();
  };
}
