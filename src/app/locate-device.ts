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

/** Of a device of the pool: at its path, or wherever its label or identity is found. */
export async function locateDevice(system: CatalogSystem, device: PoolDevice): Promise<DeviceFacts | null> {
  try {
    await system.host.verify(planDevice(device));
  } catch (error) {
    const moved = error instanceof XvdError && (error.code === 'DEVICE_IDENTITY_MISMATCH' || error.code === 'DEVICE_NOT_FOUND');
    if (moved) return (await findElsewhere(system, device)) ?? inspectIfThere(system, device.path);
    // One that fails is still where it was.
  }
  return inspectIfThere(system, device.path);
}

async function findElsewhere(system: CatalogSystem, device: PoolDevice): Promise<DeviceFacts | null> {
  for (const path of (await system.host.blockDevices?.()) ?? []) {
    if (path === device.path) continue;
    if (device.identity.kind === 'label') {
      const head = system.readHead?.(path) ?? null;
      if (head === null || decodeLabel(head)?.deviceUuid !== device.uuid) continue;
    }
    const facts = await inspectIfThere(system, path);
    if (facts === null || facts.sizeBytes !== device.sizeBytes) continue;
    if (device.identity.kind === 'label' || JSON.stringify(facts.identity) === JSON.stringify(device.identity)) return facts;
  }
  return null;
}
