// What each commit found of the disks that it changed: a writer around the writer, that looks before it lets through.

import type { DiskId } from '../../core/types.ts';
import type { CatalogWriter, DiskImage } from '../catalog.ts';
import type { State } from './state.ts';

export type Keeper = { readonly writer: CatalogWriter; readonly images: ReadonlyMap<DiskId, DiskImage> };

export function keepImages(state: () => State, writer: CatalogWriter): Keeper {
  const images = new Map<DiskId, DiskImage>();
  const keepDisk = (diskId: DiskId): void => {
    const image = images.get(diskId);
    if (image?.disk === undefined) images.set(diskId, { ...image, diskId, disk: state().disks.get(diskId) ?? null });
  };
  const keepRuns = (diskId: DiskId): void => {
    const image = images.get(diskId);
    if (image?.disk !== null && image?.runs === undefined) images.set(diskId, { ...image, diskId, runs: state().runs.get(diskId) ?? [] });
  };
  const keeping: CatalogWriter = {
    ...writer,
    addDisk: async (added) => {
      keepDisk(state().next.disk);
      return writer.addDisk(added);
    },
    addDiskWithId: async (disk) => {
      keepDisk(disk.id);
      return writer.addDiskWithId(disk);
    },
    updateDisk: async (disk) => {
      keepDisk(disk.id);
      return writer.updateDisk(disk);
    },
    removeDisk: async (id) => {
      keepDisk(id);
      return writer.removeDisk(id);
    },
    setRuns: async (diskId, runs) => {
      keepRuns(diskId);
      return writer.setRuns(diskId, runs);
    },
  };
  return { writer: keeping, images };
}

/** At the end of a write. Kept as long as the events beside it. */
export function storeImages(state: State, images: Keeper['images'], eventsKept: number): void {
  if (images.size > 0)
    state.history.push({
      commitNumber: state.commitNumber,
      nextEventId: state.next.event,
      before: [...images.values()].toSorted((a, b) => a.diskId - b.diskId),
    });
  while ((state.history[0]?.nextEventId ?? Infinity) <= state.next.event - eventsKept) state.history.shift();
}
