// The life of a disk: preparing → live → expired → reclaimed. Exactly one of them at every instant (F16).

import type { WallMs } from '../base/units.ts';
import type { Disk, DiskState } from './types.ts';

/** Living while now < expiresAt; expired from then on. */
export const isLiving = (disk: Pick<Disk, 'expiresAt'>, nowMs: WallMs): boolean => disk.expiresAt === null || nowMs < disk.expiresAt;

export function diskState(disk: Pick<Disk, 'expiresAt' | 'preparing' | 'lostBytes'>, nowMs: WallMs): DiskState {
  if (isLiving(disk, nowMs)) return disk.preparing ? 'preparing' : 'live';
  return disk.lostBytes > 0 ? 'reclaimed' : 'expired';
}
