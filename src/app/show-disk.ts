import { look } from './change.ts';
import { findDiskArgument } from './find-disk.ts';
import { diskInfoOf } from './info.ts';
import type { DiskInfo } from './shapes.ts';
import type { CatalogSystem } from './system.ts';

/** All of one disk: `5`, `vd:5` or its name; also an expired one. */
export function showDisk(system: CatalogSystem, disk: string): Promise<DiskInfo> {
  return look(system, async (reader, now) => diskInfoOf(reader, await findDiskArgument(reader, disk), now));
}
