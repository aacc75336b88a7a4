// Extents that could not be wiped or read are tried again by `check`: what reads through again is unowned once more, dirty, so
// that it is wiped before anybody gets it. Only read: a write could hit an extent that another check has given back meanwhile.

import { XvdError } from '../base/error.ts';
import { bytes, MIB } from '../base/units.ts';
import type { PoolDevice, Run } from '../core/types.ts';
import { change, look } from './change.ts';
import { planDevice, rangeOfRun } from './settle-runs.ts';
import type { CatalogSystem } from './system.ts';

const STEP_BYTES = 4 * MIB;

export type BadVerdict = { readonly device: string; readonly firstExtent: number; readonly extents: number; readonly works: boolean };

export async function retryBad(system: CatalogSystem): Promise<readonly BadVerdict[]> {
  const { bad, devices } = await look(system, async (reader) => ({ bad: await reader.badRuns(), devices: await reader.devices() }));
  const verdicts: BadVerdict[] = [];
  for (const run of bad) {
    const device = devices.find(({ id }) => id === run.deviceId);
    if (device === undefined) continue;
    const works = (await readsThrough(system, device, run)) && (await giveBack(system, device, run));
    verdicts.push({ device: device.path, firstExtent: run.firstExtent, extents: run.count, works });
  }
  return verdicts;
}

async function readsThrough(system: CatalogSystem, device: PoolDevice, run: Run): Promise<boolean> {
  const { offsetBytes, lengthBytes } = rangeOfRun(run, device);
  try {
    for (let done = 0; done < lengthBytes; done += STEP_BYTES) {
      await system.host.readBytes(planDevice(device), { offsetBytes: bytes(offsetBytes + done), lengthBytes: bytes(Math.min(STEP_BYTES, lengthBytes - done)) });
    }
    return true;
  } catch (error) {
    if (error instanceof XvdError) return false;
    throw error;
  }
}

/** false when somebody else did it first. */
function giveBack(system: CatalogSystem, device: PoolDevice, run: Run): Promise<boolean> {
  return change(system, 'check', async (tx) => {
    const still = (await tx.writer.badRuns()).some(
      (other) => other.deviceId === run.deviceId && other.firstExtent === run.firstExtent && other.count === run.count,
    );
    if (!still) return false;
    await tx.writer.removeBad(run);
    await tx.writer.giveUnowned({ ...run, clean: false });
    await tx.event('device.good-extents', device.path, { firstExtent: run.firstExtent, extents: run.count });
    return true;
  });
}
