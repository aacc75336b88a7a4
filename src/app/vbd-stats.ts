// What each VBD has done since it was attached, as its data path counts it.

import type { DataPathStats } from '../datapath/datapath.ts';
import { dataPathOf } from './domains.ts';
import type { VbdInfo } from './shapes.ts';
import type { System } from './system.ts';
import { vbds } from './vbds.ts';

export type VbdStats = { readonly vbd: VbdInfo; /** null: nobody counts, or not now. */ readonly stats: DataPathStats | null };

export async function vbdStats(system: System): Promise<readonly VbdStats[]> {
  const rows = await vbds(system);
  return Promise.all(rows.map(async (vbd) => ({ vbd, stats: await statsOf(system, vbd) })));
}

/** One that can't be asked must not hide the others. */
async function statsOf(system: System, { driver, generation }: VbdInfo): Promise<DataPathStats | null> {
  try {
    return await dataPathOf(system, driver).stats(generation);
  } catch {
    return null;
  }
}
