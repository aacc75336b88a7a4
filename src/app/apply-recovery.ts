// Puts recovered disks into the catalog, inside one transaction: all of them in place of all that are there, or one.

import { extents } from '../base/units.ts';
import type { CatalogWriter } from '../catalog/catalog.ts';
import type { PastDisk } from '../core/recovery.ts';
import { runEnd } from '../core/run.ts';
import type { Disk, Run } from '../core/types.ts';
import type { Change } from './change.ts';
import { unameOf } from './find-disk.ts';

export type Applied = { readonly removed: readonly string[]; readonly warnings: readonly string[] };

/** Also what is unowned counts as dirty from here on. */
export async function applyAll({ writer, now }: Change, back: readonly PastDisk[]): Promise<Applied> {
  const coming = new Set(back.map(({ disk }) => disk.id));
  const removed: string[] = [];
  for (const disk of await writer.disks({ which: 'all', now })) {
    await release(writer, disk);
    if (coming.has(disk.id)) await writer.updateDisk({ ...disk, name: null });
    else {
      await writer.removeDisk(disk.id);
      removed.push(unameOf(disk));
    }
  }
  for (const device of await writer.devices()) {
    for (const run of await writer.unownedRuns(device.id)) {
      if (!run.clean) continue;
      await writer.takeUnowned(run);
      await writer.giveUnowned({ ...run, clean: false });
    }
  }
  for (const disk of back) await place(writer, disk);
  return { removed, warnings: [] };
}

export async function applyOne({ writer }: Change, { disk, runs }: PastDisk): Promise<Applied> {
  const present = await writer.disk(disk.id);
  if (present !== null) await release(writer, present);
  const holder = disk.name === null ? null : await writer.diskByName(disk.name);
  const taken = holder !== null && holder.id !== disk.id;
  await place(writer, { disk: taken ? { ...disk, name: null } : disk, runs });
  return { removed: [], warnings: taken ? [`the name '${disk.name}' is taken by ${unameOf(holder)}: ${unameOf(disk)} comes back without it`] : [] };
}

async function release(writer: CatalogWriter, disk: Disk): Promise<void> {
  const runs = await writer.runs(disk.id);
  await writer.setRuns(disk.id, []);
  for (const run of runs) await writer.giveUnowned({ ...run, clean: false });
}

async function place(writer: CatalogWriter, { disk, runs }: PastDisk): Promise<void> {
  for (const run of runs) await takePieces(writer, run);
  if ((await writer.disk(disk.id)) === null) await writer.addDiskWithId(disk);
  else await writer.updateDisk(disk);
  await writer.setRuns(disk.id, runs);
}

/** Unowned space is kept in runs of one cleanness each: a recovered run may lie over several. */
async function takePieces(writer: CatalogWriter, run: Run): Promise<void> {
  for (const free of await writer.unownedRuns(run.deviceId)) {
    const first = Math.max(run.firstExtent, free.firstExtent);
    const end = Math.min(runEnd(run), runEnd(free));
    if (first < end) await writer.takeUnowned({ ...free, firstExtent: extents(first), count: extents(end - first) });
  }
}
