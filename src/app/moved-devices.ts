// Names such as /dev/sdb are given anew at each boot: a pool device is looked for by what it is known by.

import type { PoolDevice } from '../core/types.ts';
import { change } from './change.ts';
import { planDevice } from './settle-runs.ts';
import type { CatalogSystem } from './system.ts';

export type Moved = { readonly was: string; readonly is: string };

/** Of devices that are no longer where they were. Two with one identity are told, and neither is taken. */
export async function findMovedDevices(system: CatalogSystem, cause: string): Promise<readonly Moved[]> {
  const moved: Moved[] = [];
  for (const device of await system.catalog.read((reader) => reader.devices())) {
    if (device.kind !== 'block' || device.identity.kind === 'path' || (await isAt(system, device, device.path))) continue;
    const found = await placesOf(system, (path) => isAt(system, device, path));
    const [path] = found;
    if (path === undefined) continue;
    if (found.length > 1) {
      await change(system, cause, (tx) => tx.event('device.ambiguous', device.path, { places: found }));
      continue;
    }
    const { drivePath, driveStartSector } = await system.host.inspect(path);
    const move: Moved = { was: device.path, is: path };
    await change(system, cause, async (tx) => {
      await tx.writer.updateDevice({ ...device, path, drivePath, driveStartSector });
      await tx.event('device.moved', path, move);
    });
    moved.push(move);
  }
  return moved;
}

const isAt = (system: CatalogSystem, device: PoolDevice, path: string): Promise<boolean> =>
  system.host.verify({ ...planDevice(device), path }).then(
    () => true,
    () => false,
  );

/** The drives and partitions here of which that is true. */
export async function placesOf(system: CatalogSystem, matches: (path: string) => Promise<boolean>): Promise<string[]> {
  const found: string[] = [];
  for (const path of (await system.host.blockDevices?.()) ?? []) if (await matches(path)) found.push(path);
  return found;
}
