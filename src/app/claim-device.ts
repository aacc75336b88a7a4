// One command at a time decides on a device: between the look at who uses it and the record of the new use nobody else records one.

import type { DeviceFacts } from '../host/host.ts';
import type { CatalogSystem } from './system.ts';

/** Of a file its own space only: what is below is its filesystem's, and other files lie there too. DEVICE_BUSY while another has it. */
export function claimDevice(system: CatalogSystem, { kind, footprint }: DeviceFacts): Promise<AsyncDisposable> {
  const ranges = kind === 'file' ? footprint.own : [...footprint.own, ...footprint.below];
  return system.host.claim(ranges.map(({ space }) => space));
}
