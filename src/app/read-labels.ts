// What the labels of the pool's devices say, held against the catalog (I7): a catalog that is older than what a device knows
// is not used, and neither is a device that another catalog or host has taken.

import { XvdError } from '../base/error.ts';
import { bytes, MIB } from '../base/units.ts';
import type { Bytes } from '../base/units.ts';
import { decodeLabel, LABEL_HEADER_BYTES, labelPlaces } from '../core/label.ts';
import type { Label } from '../core/label.ts';
import type { PlanDevice, PoolDevice } from '../core/types.ts';
import { planDevice } from './settle-runs.ts';
import type { CatalogSystem } from './system.ts';

export type FoundLabel = { readonly place: Bytes; readonly label: Label | null };

/** Head and tail, in that order. Throws what the host says of a device that can't be read. */
export async function readLabels(system: CatalogSystem, device: PlanDevice): Promise<readonly FoundLabel[]> {
  if (device.sizeBytes < 2 * MIB) return [];
  const found: FoundLabel[] = [];
  for (const place of labelPlaces(device.sizeBytes)) {
    const label = decodeLabel(await system.host.readBytes(device, { offsetBytes: place, lengthBytes: bytes(LABEL_HEADER_BYTES) }));
    found.push({ place, label });
  }
  return found;
}

export type LabelVerdict = {
  /** Devices of the pool that bear one, and can be read. */
  readonly labels: number;
  /** Of the label that lags furthest behind; 0 when there is no labelled device here. */
  readonly lagCommits: number;
  /** Since the oldest of them was written; Infinity when it does not say, 0 when there is none. */
  readonly ageMs: number;
  /** What forbids using the catalog or a device: CATALOG_STALE first, then LABEL_FOREIGN. */
  readonly problems: readonly XvdError[];
};

/** Devices that are not there, or can't be read, say nothing: that is told when they are used. */
export async function judgeLabels(system: CatalogSystem): Promise<LabelVerdict> {
  const view = await system.catalog.read(async (reader) => ({
    devices: (await reader.devices()).filter((device) => device.labelled),
    catalogId: await reader.catalogId(),
    commit: await reader.commitNumber(),
    highestDiskId: (await reader.highest()).disk,
  }));
  const stale: XvdError[] = [];
  const foreign: XvdError[] = [];
  let lagCommits = 0;
  let ageMs = 0;
  const { wallMs } = system.clock.read();
  const labels = await Promise.all(view.devices.map(async (device) => ({ device, label: await headLabel(system, device) })));
  for (const { device, label } of labels) {
    if (label === null) continue;
    const refusal = refusalOf(system, device, label, view.catalogId);
    if (refusal !== null) foreign.push(refusal);
    else if (label.commitNumber > view.commit || label.highestDiskId > view.highestDiskId) stale.push(staleError(device, label, view));
    else {
      lagCommits = Math.max(lagCommits, view.commit - label.commitNumber);
      ageMs = Math.max(ageMs, label.writtenAtMs === undefined ? Infinity : Math.abs(wallMs - label.writtenAtMs));
    }
  }
  return { labels: labels.filter(({ label }) => label !== null).length, lagCommits, ageMs, problems: [...stale, ...foreign] };
}

/** To be called before the catalog is used for anything but reading: CATALOG_STALE, LABEL_FOREIGN. */
export async function refuseStale(system: CatalogSystem): Promise<LabelVerdict> {
  const verdict = await judgeLabels(system);
  const [first] = verdict.problems;
  if (first !== undefined) throw first;
  return verdict;
}

async function headLabel(system: CatalogSystem, device: PoolDevice): Promise<Label | null> {
  const head = system.readHead?.(device.path) ?? null;
  const quick = head === null ? null : decodeLabel(head);
  if (quick !== null) return quick.deviceUuid === device.uuid ? quick : null;
  if (system.readHead !== undefined && head === null) return null;
  try {
    const labels = await readLabels(system, planDevice(device));
    return labels.map(({ label }) => label).find((label) => label !== null) ?? null;
  } catch (error) {
    if (error instanceof XvdError) return null;
    throw error;
  }
}

/** A label that is not ours to write: of another catalog, or of another host. */
export function refusalOf(system: CatalogSystem, device: Pick<PoolDevice, 'path'>, label: Label, catalogId: string): XvdError | null {
  if (label.catalogId !== catalogId)
    return new XvdError(
      'LABEL_FOREIGN',
      `${device.path} carries the label of catalog ${label.catalogId} (host ${label.host}), and this is catalog ${catalogId}`,
    );
  if (label.host === system.hostName) return null;
  return new XvdError('LABEL_FOREIGN', `${device.path} was last used by host ${label.host}, and this is ${system.hostName}`, {
    fix: `Make sure that ${label.host} does not use it any more, then \`xvd adopt ${device.path}\`.`,
  });
}

function staleError(device: PoolDevice, label: Label, view: { commit: number; highestDiskId: number }): XvdError {
  const known =
    label.commitNumber > view.commit
      ? `commit ${label.commitNumber}, and the catalog is at ${view.commit}`
      : `disk vd:${label.highestDiskId}, and the catalog ends at vd:${view.highestDiskId}`;
  return new XvdError('CATALOG_STALE', `${device.path} knows ${known}: the catalog is an old one`);
}
