import { deviceInfo } from './info.ts';
import { look } from './change.ts';
import type { DeviceInfo } from './shapes.ts';
import type { CatalogSystem } from './system.ts';

/** The devices of all pools, with what is used, free, reserved, bad and clean of each. */
export function listDevices(system: CatalogSystem): Promise<DeviceInfo[]> {
  return look(system, async (reader, { now }) => {
    const usage = await reader.usage(now);
    return (await reader.devices()).map((device) => deviceInfo(device, usage.get(device.id)));
  });
}
