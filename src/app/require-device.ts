// Whether a device of the pool is there and the one that the catalog knows: cheaply where its label says so, else by all that the
// host knows of it.

import { decodeLabel } from '../core/label.ts';
import type { PoolDevice } from '../core/types.ts';
import { planDevice } from './settle-runs.ts';
import type { CatalogSystem } from './system.ts';

/** DEVICE_NOT_FOUND, DEVICE_IDENTITY_MISMATCH, DEVICE_FAILED, NOT_PERMITTED. */
export async function requireDevice(system: CatalogSystem, device: PoolDevice): Promise<void> {
  const head = device.identity.kind === 'label' ? (system.readHead?.(device.path) ?? null) : null;
  if (head !== null && decodeLabel(head)?.deviceUuid === device.uuid) return;
  await system.host.verify(planDevice(device));
}
