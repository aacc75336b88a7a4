// Labels on a device that is being formatted: they are written before the catalog has the device, so that what a crash leaves is
// at worst a label that nobody knows, which the next format overwrites. A format that fails after that puts back what was there.

import { XvdError } from '../base/error.ts';
import { bytes } from '../base/units.ts';
import type { Bytes } from '../base/units.ts';
import { encodeLabel, LABEL_HEADER_BYTES, labelPlaces } from '../core/label.ts';
import type { Label } from '../core/label.ts';
import type { PlanDevice } from '../core/types.ts';
import type { DeviceFacts } from '../host/host.ts';
import { messageOf } from './end-vbd.ts';
import { planAsIs } from './plan-as-is.ts';
import type { CatalogSystem } from './system.ts';

type Before = { readonly place: Bytes; readonly data: Uint8Array };

/** Writes the labels, then runs the body, which gives the device to the catalog. The caller has claimed the device. */
export async function labelNewDevice<T>(system: CatalogSystem, facts: DeviceFacts, label: Label, body: () => Promise<T>): Promise<T> {
  const plan = planAsIs(facts);
  const before = await Promise.all(labelPlaces(facts.sizeBytes).map((place) => readBefore(system, plan, place)));
  const begun: Before[] = [];
  try {
    // The tail first: a head with no tail could be taken for a whole one. For the same reason it is the last to be put back.
    for (const each of before.toReversed()) {
      begun.unshift(each);
      await system.host.writeBytes(plan, each.place, encodeLabel(label));
    }
    return await body();
  } catch (error) {
    if (await isInCatalog(system, label)) throw error;
    try {
      for (const { place, data } of begun) await system.host.writeBytes(plan, place, data);
    } catch (second) {
      throw stillLabelled(error, facts.path, second);
    }
    throw error;
  }
}

/** What can't be read can't be put back: it is cleared. */
async function readBefore(system: CatalogSystem, plan: PlanDevice, place: Bytes): Promise<Before> {
  try {
    return { place, data: await system.host.readBytes(plan, { offsetBytes: place, lengthBytes: bytes(LABEL_HEADER_BYTES) }) };
  } catch (error) {
    if (error instanceof XvdError && error.code === 'DEVICE_FAILED') return { place, data: new Uint8Array(LABEL_HEADER_BYTES) };
    throw error;
  }
}

/** Then its labels are right. So they are, for all that is known, when the catalog can't be read. */
function isInCatalog({ catalog }: CatalogSystem, { deviceUuid }: Label): Promise<boolean> {
  return catalog
    .read((reader) => reader.devices())
    .then(
      (devices) => devices.some(({ uuid }) => uuid === deviceUuid),
      () => true,
    );
}

function stillLabelled(error: unknown, path: string, second: unknown): unknown {
  if (!(error instanceof XvdError)) return error;
  const { code, message, fix, details } = error;
  return new XvdError(code, `${message}; what stood on ${path} in place of its labels could not be put back: ${messageOf(second)}`, {
    cause: error,
    fix,
    details,
  });
}
