// The device-mapper devices of one catalog that have a table, as the kernel tells of them in /sys: nothing is remembered, nothing
// is started.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SECTOR_BYTES } from '../../base/units.ts';
import type { Generation } from '../../core/types.ts';
import type { DataPathStats } from '../datapath.ts';
import { generationOf } from './names.ts';

export type OwnDevice = {
  readonly generation: Generation;
  readonly name: string;
  /** `/sys/block/dm-0` */
  readonly folder: string;
  /** `253:0` */
  readonly number: string;
  readonly sizeSectors: number;
  readonly suspended: boolean;
  readonly readOnly: boolean;
  /** Devices that its tables stand on; 0 = an error table, or none. */
  readonly slaves: number;
};

export function ownDevices(sysBlock: string, catalogId: string): readonly OwnDevice[] {
  const names = readdirSync(sysBlock).filter((name) => name.startsWith('dm-'));
  return names.flatMap((name) => {
    const device = readOwn(join(sysBlock, name), catalogId);
    return device === null ? [] : [device];
  });
}

function readOwn(folder: string, catalogId: string): OwnDevice | null {
  try {
    const generation = generationOf(text(folder, 'dm/uuid'), catalogId);
    if (generation === null) return null;
    return {
      generation,
      name: text(folder, 'dm/name'),
      folder,
      number: text(folder, 'dev'),
      sizeSectors: Number(text(folder, 'size')),
      suspended: text(folder, 'dm/suspended') === '1',
      readOnly: text(folder, 'ro') === '1',
      slaves: readdirSync(join(folder, 'slaves')).length,
    };
  } catch {
    return null; // removed while it was read
  }
}

const text = (folder: string, name: string): string => readFileSync(join(folder, name), 'utf8').trim();

/**
 * The error table is live and what was queued has ended: no request of it can reach a device. The kernel lets go of the devices of
 * the old table only after it waited for what was under way on them.
 */
export const isFenced = (device: OwnDevice): boolean => device.sizeSectors > 0 && !device.suspended && device.slaves === 0;

/** Flushes count among the writes: the kernel does not tell them apart for device-mapper, nor does it count errors. */
export function statsOf(device: OwnDevice, connections: number): DataPathStats {
  const [reads = 0, , readSectors = 0, , writes = 0, , writtenSectors = 0] = text(device.folder, 'stat').split(/\s+/).map(Number);
  return { connections, reads, writes, readBytes: readSectors * SECTOR_BYTES, writtenBytes: writtenSectors * SECTOR_BYTES, flushes: null, errors: null };
}
