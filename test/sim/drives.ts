// The drives of the simulation: three for the pool, and one for `phy:` with a partition on it.

import { MIB, sectors } from '../../src/base/units.ts';
import type { Footprint } from '../../src/core/types.ts';
import type { Place } from './oracle.ts';

/** Small, so that every byte can be looked at after every step. */
export const EXTENT_BYTES = 64 * 1024;
const LABELS_BYTES = 2 * MIB;

type Drive = { readonly path: string; readonly sizeBytes: number; readonly space: string; readonly startSector: number; readonly footprint: Footprint };
const drive = (path: string, sizeBytes: number, space: string, startSector = 0): Drive => ({
  path,
  sizeBytes,
  space,
  startSector,
  footprint: { own: [{ space, startSector: sectors(startSector), sectors: sectors(sizeBytes / 512) }], below: [] },
});

export const POOL_DRIVES = ['/dev/sda', '/dev/sdb', '/dev/sdc'] as const;
export const DRIVES: readonly Drive[] = [
  drive('/dev/sda', LABELS_BYTES + 8 * EXTENT_BYTES, 'drive:8:0'),
  drive('/dev/sdb', LABELS_BYTES + 11 * EXTENT_BYTES, 'drive:8:16'),
  drive('/dev/sdc', LABELS_BYTES + 6 * EXTENT_BYTES, 'drive:8:32'),
  drive('/dev/sdd', 4 * MIB, 'drive:8:48'),
  drive('/dev/sdd1', MIB, 'drive:8:48', 2048),
];

export function placesOf(device: string, fromByte: number, toByte: number): Place[] {
  const found = DRIVES.find(({ path }) => path === device);
  if (found === undefined) return [];
  const start = found.startSector * 512;
  return [{ space: found.space, from: start + fromByte, to: start + toByte }];
}
