// Where a device is now, for those who must not share sectors with it: by its identity, since a name may be another's by now (F8).
// What can't be told is an error: nobody is let in beside a device that nobody could look at.

import { XvdError } from '../base/error.ts';
import { decodeLabel } from '../core/label.ts';
import type { PoolDevice } from '../core/types.ts';
import type { DeviceFacts } from '../host/host.ts';
import { planDevice } from './settle-runs.ts';
import type { CatalogSystem } from './system.ts';

/** null when nothing is there: then it has no node that could be opened, and is nobody's neighbour. */
export async function inspectIfThere(system: CatalogSystem, path: string): Promise<DeviceFacts | null> {
  try {
    return await system.host.inspect(path, { signatures: false });
  } catch (error) {
    if (error instanceof XvdError && error.code === 'DEVICE_NOT_FOUND') return null;
    throw error;
  }
}

export type Located = {
  readonly facts: DeviceFacts | null;
  /** Why nothing can be read or written there; null when it can. */
  readonly unusable: XvdError | null;
};

/** Of a device of the pool: at its path, or wherever its label or identity is found. Where several bear it, all of them are it:
 *  nobody is let in beside what may be the pool. */
export async function locateDevice(system: CatalogSystem, device: PoolDevice): Promise<Located> {
  try {
    await system.host.verify(planDevice(device));
    return { facts: await inspectIfThere(system, device.path), unusable: null };
  } catch (error) {
    if (!(error instanceof XvdError)) throw error;
    const moved = error.code === 'DEVICE_IDENTITY_MISMATCH' || error.code === 'DEVICE_NOT_FOUND';
    // One that fails is still where it was.
    return { facts: moved ? joined(await candidates(system, device)) : await inspectIfThere(system, device.path), unusable: error };
  }
}

async function candidates(system: CatalogSystem, device: PoolDevice): Promise<readonly DeviceFacts[]> {
  const there = await inspectIfThere(system, device.path);
  const elsewhere = await findElsewhere(system, device);
  const isAmong = there !== null && (elsewhere.length === 0 || bears(there, device));
  return isAmong ? [there, ...elsewhere] : elsewhere;
}

async function findElsewhere(system: CatalogSystem, device: PoolDevice): Promise<readonly DeviceFacts[]> {
  const found: DeviceFacts[] = [];
  for (const path of (await system.host.blockDevices?.()) ?? []) {
    if (path === device.path) continue;
    if (device.identity.kind === 'label') {
      const head = system.readHead?.(path) ?? null;
      if (head === null || decodeLabel(head)?.deviceUuid !== device.uuid) continue;
    }
    const facts = await inspectIfThere(system, path);
    if (facts !== null && facts.sizeBytes === device.sizeBytes && (device.identity.kind === 'label' || bears(facts, device))) found.push(facts);
  }
  return found;
}

const bears = (facts: DeviceFacts, device: PoolDevice): boolean => JSON.stringify(facts.identity) === JSON.stringify(device.identity);

function joined(found: readonly DeviceFacts[]): DeviceFacts | null {
  const [first] = found;
  if (first === undefined) return null;
  const footprints = found.map(({ footprint }) => footprint);
  const via = footprints.flatMap((footprint) => footprint.via ?? []);
  return {
    ...first,
    footprint: { own: footprints.flatMap(({ own }) => own), below: footprints.flatMap(({ below }) => below), ...(via.length === 0 ? {} : { via }) },
  };
}
