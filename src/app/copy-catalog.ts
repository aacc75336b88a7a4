// The catalog as one value: for copies on labels, and as what `recover` goes back to.

import { limits } from '../base/limits.ts';
import type { CatalogReader } from '../catalog/catalog.ts';
import type { CatalogCopy } from '../core/catalog-copy.ts';
import type { WallMs } from '../base/units.ts';

/** IDs that `recover` may have passed over. */
const UNSEEN = 4096;

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
