// From what a user typed (`5`, `vd:5`, a name) to the disk of the catalog.

import { XvdError } from '../base/error.ts';
import type { CatalogReader } from '../catalog/catalog.ts';
import type { Disk } from '../core/types.ts';
import { parseDiskRef } from '../core/uname.ts';
import type { DiskRef } from '../core/uname.ts';

export const unameOf = (disk: { readonly id: number }): string => `vd:${disk.id}`;

export async function findDisk(reader: CatalogReader, ref: DiskRef): Promise<Disk> {
  const disk = ref.by === 'id' ? await reader.disk(ref.id) : await reader.diskByName(ref.name);
  if (disk === null) throw new XvdError('DISK_NOT_FOUND', `no disk ${ref.by === 'id' ? `vd:${ref.id}` : `named '${ref.name}'`}`);
  return disk;
}

export const findDiskArgument = (reader: CatalogReader, argument: string): Promise<Disk> => findDisk(reader, parseDiskRef(argument));
