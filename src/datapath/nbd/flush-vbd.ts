// Makes durable what any connection of a VBD has written since the last flush: own ranges only, so that no neighbour's dirty
// pages are waited for. The kernel tells a failed write-back once; from then on the VBD is poisoned, and every flush fails.

import { existsSync, fdatasyncSync, writeFileSync } from 'node:fs';
import { XvdError } from '../../base/error.ts';
import type { VbdPlan } from '../../core/types.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import type { SharedPage } from './shared-page.ts';

/** A file beside the plan: seen by every connection, by the daemon, and by the daemon after it. */
export type Poison = { is(): boolean; set(reason: string): void };

export function poisonFile(path: string): Poison {
  // Read at every flush (4 µs): another connection may have met the error that this one would not be told.
  return { is: () => existsSync(path), set: (reason) => writeFileSync(path, reason, { mode: 0o600 }) };
}

export type FlushOptions = {
  readonly plan: VbdPlan;
  readonly fdOf: (deviceIndex: number) => number;
  readonly syscalls: Syscalls | null;
  readonly page: SharedPage;
  readonly poison: Poison;
};

export function flushVbd({ plan, fdOf, syscalls, page, poison }: FlushOptions): void {
  if (poison.is()) throw new XvdError('DEVICE_FAILED', 'an earlier write-back of this VBD failed');
  const dirty = page.dirty();
  try {
    for (const [deviceIndex] of plan.devices.entries()) {
      const segments = dirty.flatMap(({ segment }) => plan.segments[segment] ?? []).filter((segment) => segment.deviceIndex === deviceIndex);
      if (segments.length > 0) flushDevice(fdOf(deviceIndex), segments, syscalls);
    }
  } catch (error) {
    poison.set((error as Error).message);
    throw error;
  }
  // Poison that another connection met meanwhile may be about our ranges.
  if (poison.is()) throw new XvdError('DEVICE_FAILED', 'a write-back of this VBD failed');
  page.flushed(dirty);
}

/** Pages of all ranges first; then one flush for what a filesystem and the drive still hold, which is the costly part. */
function flushDevice(fd: number, segments: VbdPlan['segments'], syscalls: Syscalls | null): void {
  if (syscalls === null) return fdatasyncSync(fd);
  segments.forEach(({ offsetBytes, lengthBytes }, index) => {
    const last = index === segments.length - 1;
    const result = last ? syscalls.syncRange(fd, offsetBytes, lengthBytes) : syscalls.writeBack(fd, offsetBytes, lengthBytes);
    if (result < 0) throw new XvdError('DEVICE_FAILED', `write-back failed (error ${-result})`);
  });
}
