// The text of a device-mapper table for one VBD: linear targets in the order of the disk, neighbours joined. Pure.

import { invariant } from '../../base/invariant.ts';
import { SECTOR_BYTES } from '../../base/units.ts';
import type { VbdPlan } from '../../core/types.ts';

/** One line a target, in the words of dmsetup(8), as `dmsetup table` prints it again. `numbers`: `8:3`, of each device of the plan. */
export function tableOf(plan: Pick<VbdPlan, 'segments' | 'sizeBytes'>, numbers: readonly string[]): string {
  const targets: { readonly at: number; sectors: number; readonly number: string; readonly start: number }[] = [];
  let at = 0;
  for (const { deviceIndex, offsetBytes, lengthBytes } of plan.segments) {
    const number = numbers[deviceIndex];
    invariant(number !== undefined, `device ${deviceIndex} of the plan is open`);
    const [start, sectors] = [offsetBytes / SECTOR_BYTES, lengthBytes / SECTOR_BYTES];
    invariant(Number.isSafeInteger(start) && Number.isSafeInteger(sectors) && sectors > 0, 'segments are whole sectors');
    const last = targets.at(-1);
    if (last !== undefined && last.number === number && last.start + last.sectors === start) last.sectors += sectors;
    else targets.push({ at, sectors, number, start });
    at += sectors;
  }
  invariant(at * SECTOR_BYTES === plan.sizeBytes, 'the segments cover the VBD');
  return targets.map((target) => `${target.at} ${target.sectors} linear ${target.number} ${target.start}\n`).join('');
}

/** Every request fails, at once and for good. */
export const errorTable = (sectors: number): string => `0 ${sectors} error\n`;
