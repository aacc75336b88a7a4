// The catalog as one value: for copies on labels, and as what `recover` goes back to.

import { limits } from '../base/limits.ts';
import type { CatalogReader } from '../catalog/catalog.ts';
import type { CatalogCopy } from '../core/catalog-copy.ts';
import type { WallMs } from '../base/units.ts';
import type { DeviceId } from '../core/types.ts';

/** IDs that `recover` may have passed over. */
const UNSEEN = 4096;
/** Of disks that were given and are still there, and have runs: many may be bare. */
const DISKS_PER_RUN = 4;

/** What one device has of a catalog that is too large to be copied whole; null when that is more than `limit` runs, or not worth a look. */
export async function copyPart(reader: CatalogReader, deviceId: DeviceId, limit: number): Promise<CatalogCopy | null> {
  const devices = await reader.devices();
  // So many disks do not fit onto the devices that there are: then none is looked at, as labels are never in the way.
  if ((await reader.highest()).disk > limit * devices.length * DISKS_PER_RUN + UNSEEN) return null;
  const runs = await reader.ownedRunsOn(deviceId, limit + 1);
  if (runs.length > limit) return null;
  const byDisk = Map.groupBy(runs, ({ diskId }) => diskId);
  const disks: CatalogCopy['disks'][number][] = [];
  for (const [diskId, own] of byDisk) {
    const disk = await reader.disk(diskId);
    if (disk !== null)
      disks.push({ disk, runs: own.map(({ deviceId: on, firstExtent, count, clean, position }) => ({ deviceId: on, firstExtent, count, clean, position })) });
  }
  const bad = (await reader.badRuns()).filter((run) => run.deviceId === deviceId);
  return {
    catalogId: await reader.catalogId(),
    commitNumber: await reader.commitNumber(),
    highest: await reader.highest(),
    part: deviceId,
    devices,
    disks,
    bad,
  };
}

/** null when the catalog has more than `limit` disks. */
export async function copyCatalog(reader: CatalogReader, now: WallMs, limit: number = Number.MAX_SAFE_INTEGER): Promise<CatalogCopy | null> {
  // A row for nearly every ID that was given: cheaper than to count them.
  if ((await reader.highest()).disk > limit + UNSEEN) return null;
  const disks = await reader.disks(limit >= limits.sizeBytes ? { which: 'all', now } : { which: 'all', now, limit: limit + 1 });
  if (disks.length > limit) return null;
  const copied: CatalogCopy['disks'][number][] = [];
  for (const disk of disks) copied.push({ disk, runs: (await reader.runs(disk.id)).map((run, position) => ({ ...run, position })) });
  return {
    catalogId: await reader.catalogId(),
    commitNumber: await reader.commitNumber(),
    highest: await reader.highest(),
    part: null,
    devices: await reader.devices(),
    disks: copied,
    bad: await reader.badRuns(),
  };
}
