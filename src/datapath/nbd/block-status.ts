// What BLOCK_STATUS tells of a range: holes and data of files as the filesystem knows them (`base:allocation`), and on which
// run and device of the plan it lies (`xvd:run`, `xvd:device`).

import type { ExtentMap } from '../../core/extent-map.ts';
import { eachPiece } from '../../core/extent-map.ts';
import type { VbdPlan } from '../../core/types.ts';
import { SEEK_DATA, SEEK_HOLE } from '../../host/syscalls.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { STATE } from './wire/constants.ts';

export const CONTEXTS = ['base:allocation', 'xvd:run', 'xvd:device'] as const;

/** Enough for a map of a fragmented image in few requests, and a reply of 32 KiB at most. */
export const STATUS_EXTENTS = 4096;

export type Extents = number[];

export type StatusOptions = {
  readonly plan: VbdPlan;
  readonly map: ExtentMap;
  readonly fdOf: (deviceIndex: number) => number;
  readonly syscalls: Syscalls | null;
};

/** Pairs of length and flags, from `offset` on; at most `most` pairs, so it may end early, but tells of at least one byte. */
export function blockStatus(options: StatusOptions, context: string, range: { readonly offset: number; readonly length: number }, most: number): Extents {
  const found: Extents = [];
  eachPiece(options.map, range.offset, range.length, (device, deviceOffset, _, length, segment) => {
    if (context === 'xvd:run') add(found, length, segment);
    else if (context === 'xvd:device') add(found, length, device);
    else if (found.length <= 2 * most) allocation(options, device, deviceOffset, length, found, most);
  });
  return found.slice(0, 2 * most);
}

function add(found: Extents, length: number, flags: number): void {
  const last = found.length - 2;
  if (last >= 0 && found[last + 1] === flags) found[last] = (found[last] ?? 0) + length;
  else found.push(length, flags);
}

/** Block devices have no holes that they would tell of: what can't be asked is data. */
function allocation({ plan, fdOf, syscalls }: StatusOptions, device: number, start: number, length: number, found: Extents, most: number): void {
  if (syscalls === null || plan.devices[device]?.kind !== 'file') return add(found, length, 0);
  const fd = fdOf(device);
  const end = start + length;
  for (let at = start; at < end && found.length <= 2 * most;) {
    const data = syscalls.seek(fd, at, SEEK_DATA);
    // -ENXIO: a hole up to the end of the file.
    const dataAt = data === -6 ? end : data < 0 ? at : Math.min(data, end);
    if (dataAt > at) add(found, dataAt - at, STATE.HOLE | STATE.ZERO);
    if (dataAt >= end) return;
    const hole = data < 0 ? end : syscalls.seek(fd, dataAt, SEEK_HOLE);
    const holeAt = hole < 0 ? end : Math.min(hole, end);
    // A file that changed between the two questions: data, so that the walk always gets on.
    const next = Math.max(holeAt, dataAt + 1);
    add(found, next - dataAt, 0);
    at = next;
  }
}
