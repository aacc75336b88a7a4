// Brings the labels of the pool's devices up to a committed state of the catalog: they lag behind it by a bounded time, and
// are never ahead of it. The daemon does it every limits.labelLagMs, without one a process that commands leave behind (see
// daemon/label-guard.ts). Never in the way of a create: nothing is locked, and a label that can't be written is told.

import { XvdError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import { bytes } from '../base/units.ts';
import { encodeCopy, partOf } from '../core/catalog-copy.ts';
import type { CatalogCopy } from '../core/catalog-copy.ts';
import { encodeLabel, LABEL_HEADER_BYTES } from '../core/label.ts';
import type { Label } from '../core/label.ts';
import { encodeRecord, nextPlace } from '../core/label-ring.ts';
import type { CopyPlace } from '../core/label-ring.ts';
import type { DeviceId, PlanDevice, PoolDevice } from '../core/types.ts';
import { look } from './change.ts';
import { copyCatalog, copyPart } from './copy-catalog.ts';
import { messageOf } from './end-vbd.ts';
import { readLabels, refusalOf } from './read-labels.ts';
import type { FoundLabel } from './read-labels.ts';
import { planDevice } from './settle-runs.ts';
import type { CatalogSystem } from './system.ts';

export type WriteLabelsOptions = {
  /** Only labels that are so far behind; default 1. */ readonly lagCommits?: number;
  /** A catalog of more disks is not copied whole. */ readonly copyDisks?: number;
};
export type WriteLabelsResult = { readonly written: readonly string[]; readonly warnings: readonly string[] };

type Shot = {
  readonly catalogId: string;
  readonly commitNumber: number;
  readonly highestDiskId: number;
  /** The record for a device: all of the catalog, else the device's part, else null. */
  readonly recordFor: (device: PoolDevice) => Uint8Array | null;
};

export async function writeLabels(
  system: CatalogSystem,
  { lagCommits = 1, copyDisks = limits.labelCopyDisks }: WriteLabelsOptions = {},
): Promise<WriteLabelsResult> {
  const devices = (await system.catalog.read((reader) => reader.devices())).filter((device) => device.labelled);
  if (devices.length === 0) return { written: [], warnings: [] };
  let shot: Shot | null = null;
  const written: string[] = [];
  const warnings: string[] = [];
  for (const device of devices) {
    try {
      // Two that write at once would tear each other's copy.
      await using claim = await system.host.claim([`label:${device.uuid}`]);
      void claim;
      // Taken out of the pool meanwhile: what is on it is no longer ours to write.
      if (!(await system.catalog.read((reader) => reader.devices())).some(({ uuid }) => uuid === device.uuid)) continue;
      shot ??= await takeShot(system, copyDisks);
      if (await writeDevice(system, device, shot, lagCommits)) written.push(device.path);
    } catch (error) {
      if (!(error instanceof XvdError)) throw error;
      warnings.push(`the label of ${device.path} was not written: ${messageOf(error)}`);
    }
  }
  return { written, warnings };
}

async function takeShot(system: CatalogSystem, copyDisks: number): Promise<Shot> {
  const { copy, parts, ...head } = await look(system, async (reader, { now }) => {
    const whole = system.packer === undefined ? null : await copyCatalog(reader, now, copyDisks);
    const devices = whole === null && system.packer !== undefined ? await reader.devices() : [];
    const some = new Map<DeviceId, CatalogCopy | null>();
    for (const { id } of devices) some.set(id, await copyPart(reader, id, Math.ceil(copyDisks / devices.length)));
    const numbers = { catalogId: await reader.catalogId(), commitNumber: await reader.commitNumber(), highestDiskId: (await reader.highest()).disk };
    return { ...numbers, copy: whole, parts: some };
  });
  const whole = copy === null ? null : recordOf(system, copy);
  const partFor = (id: DeviceId): CatalogCopy | null => (copy === null ? (parts.get(id) ?? null) : partOf(copy, id));
  return {
    ...head,
    recordFor(device) {
      const part = whole === null ? partFor(device.id) : null;
      return whole ?? (part === null ? null : recordOf(system, part));
    },
  };
}

/** null = it fits into no ring. */
function recordOf({ packer }: CatalogSystem, copy: CatalogCopy): Uint8Array | null {
  if (packer === undefined) return null;
  const record = encodeRecord({ commitNumber: copy.commitNumber, payload: packer.pack(encodeCopy(copy)) });
  return nextPlace(record.length, null) === null ? null : record;
}

async function writeDevice(system: CatalogSystem, device: PoolDevice, shot: Shot, lagCommits: number): Promise<boolean> {
  const plan = planDevice(device);
  const labels = await readLabels(system, plan);
  for (const { label } of labels) {
    const refusal = label === null ? null : refusalOf(system, device, label, shot.catalogId);
    if (refusal !== null) throw refusal;
  }
  const behind = labels.some(({ label }) => label === null || shot.commitNumber - label.commitNumber >= lagCommits);
  // One that knows more was written meanwhile by somebody newer, or the catalog is stale: not for us to undo.
  const newer = labels.some(({ label }) => label !== null && label.commitNumber > shot.commitNumber);
  if (!behind || newer) return false;
  await writeLabelsOf(system, plan, device, shot, labels);
  return true;
}

/** Head first, then the tail: at every moment one of the two is whole. */
async function writeLabelsOf(system: CatalogSystem, plan: PlanDevice, device: PoolDevice, shot: Shot, labels: readonly FoundLabel[]): Promise<void> {
  const record = shot.recordFor(device);
  for (const { place, label } of labels) {
    const kept = placeOf(label);
    const at = record === null ? null : nextPlace(record.length, kept);
    if (record !== null && at !== null) await system.host.writeBytes(plan, bytes(place + at.offset), record);
    const header = encodeLabel(labelOf(system, device, shot, at ?? kept));
    await system.host.writeBytes(plan, place, header);
  }
}

const placeOf = (label: Label | null): CopyPlace | null =>
  label?.copyOffset === undefined || label.copyOffset < LABEL_HEADER_BYTES ? null : { offset: label.copyOffset, bytes: label.copyBytes ?? LABEL_HEADER_BYTES };

export function labelOf(
  system: CatalogSystem,
  device: Omit<PoolDevice, 'id'>,
  shot: Pick<Shot, 'catalogId' | 'commitNumber' | 'highestDiskId'>,
  copy: CopyPlace | null = null,
): Label {
  return {
    deviceUuid: device.uuid,
    catalogId: shot.catalogId,
    host: system.hostName,
    pool: device.pool,
    sizeBytes: device.sizeBytes,
    extentBytes: device.extentBytes,
    dataStartBytes: device.dataStartBytes,
    commitNumber: shot.commitNumber,
    highestDiskId: shot.highestDiskId,
    writtenAtMs: Math.max(0, system.clock.read().wallMs),
    ...(copy === null ? {} : { copyOffset: copy.offset, copyBytes: copy.bytes }),
  };
}
