// Where `recover` goes back to: a backup's file, the time before an event, or what the labels of devices know.

import { XvdError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import { bytes, MIB } from '../base/units.ts';
import type { CatalogReader } from '../catalog/catalog.ts';
import { decodeCopy, joinParts } from '../core/catalog-copy.ts';
import type { CatalogCopy } from '../core/catalog-copy.ts';
import { decodeLabel, LABEL_HEADER_BYTES, labelPlaces } from '../core/label.ts';
import type { Label } from '../core/label.ts';
import { readRing } from '../core/label-ring.ts';
import type { DiskId, PlanDevice, PoolDevice, Run } from '../core/types.ts';
import type { PastDisk } from '../core/recovery.ts';
import { look } from './change.ts';
import { copyCatalog } from './copy-catalog.ts';
import type { CatalogSystem } from './system.ts';

export async function pastOfFile(system: CatalogSystem, file: string): Promise<CatalogCopy> {
  if (system.openCopy === undefined) throw new XvdError('NOT_SUPPORTED', 'copies of the catalog cannot be read here');
  const copy = await system.openCopy(file);
  try {
    const past = await look({ ...system, catalog: copy }, (reader, { now }) => copyCatalog(reader, now));
    if (past === null || past.commitNumber === 0)
      throw new XvdError('VALUE_INVALID', `${file} is an empty catalog`, { fix: 'Name a file that `xvd backup` made.' });
    return past;
  } finally {
    await copy[Symbol.asyncDispose]();
  }
}

/** What was before that event, from the history. EVENT_NOT_FOUND when it is not kept any more. */
export async function pastBefore(reader: CatalogReader, event: number): Promise<ReadonlyMap<DiskId, PastDisk | null>> {
  const [found] = await reader.events(event - 1, 1);
  if (found === undefined || found.id !== event) throw new XvdError('EVENT_NOT_FOUND', `no event ${event} is kept`);
  const past = new Map<DiskId, PastDisk | null>();
  // Newest first: what an older commit found replaces what a newer one found.
  for (const entry of await reader.history(event)) {
    for (const { diskId, disk, runs } of entry.before) {
      const known = past.has(diskId) ? (past.get(diskId) ?? null) : await presentDisk(reader, diskId);
      const row = disk === undefined ? (known?.disk ?? null) : disk;
      past.set(diskId, row === null ? null : { disk: row, runs: runs ?? known?.runs ?? [] });
    }
  }
  return past;
}

async function presentDisk(reader: CatalogReader, diskId: DiskId): Promise<PastDisk | null> {
  const disk = await reader.disk(diskId);
  return disk === null ? null : { disk, runs: await reader.runs(diskId) };
}

export type LabelView = { readonly path: string; readonly label: Label; readonly copies: readonly CatalogCopy[] };

/** The labels of one device, with the newest readable copy of each kind. A device that is not there has none. */
export async function readCopies(system: CatalogSystem, path: string): Promise<readonly LabelView[]> {
  const facts = await system.host.inspect(path, { signatures: false }).catch(() => null);
  if (facts === null || facts.sizeBytes < 2 * MIB) return [];
  const { kind, sizeBytes } = facts;
  // Whatever it is: its label says who it is, also when another has the same WWN.
  const device: PlanDevice = { path: facts.path, kind, identity: { kind: 'path', path: facts.path }, sizeBytes };
  const views: LabelView[] = [];
  for (const place of labelPlaces(sizeBytes)) {
    // Most devices of a host bear no label: their heads say so.
    const header = await system.host.readBytes(device, { offsetBytes: place, lengthBytes: bytes(LABEL_HEADER_BYTES) }).catch(() => new Uint8Array());
    if (decodeLabel(header) === null) continue;
    const area = await system.host.readBytes(device, { offsetBytes: place, lengthBytes: bytes(limits.labelBytes) }).catch(() => new Uint8Array());
    const label = decodeLabel(area);
    if (label !== null) views.push({ path: facts.path, label, copies: copiesIn(system, area, label) });
  }
  return views;
}

function copiesIn({ packer }: CatalogSystem, area: Uint8Array, label: Label): CatalogCopy[] {
  if (packer === undefined) return [];
  const copies: CatalogCopy[] = [];
  for (const { payload } of readRing(area)) {
    const copy = unpacked(packer, payload);
    if (copy !== null && copy.catalogId === label.catalogId && !copies.some(({ part }) => part === copy.part)) copies.push(copy);
  }
  return copies;
}

/** Bytes of a device: whatever can't be read is no copy. */
function unpacked(packer: NonNullable<CatalogSystem['packer']>, payload: Uint8Array): CatalogCopy | null {
  try {
    return decodeCopy(packer.unpack(payload, limits.labelCopyBytes));
  } catch {
    return null;
  }
}

export type PastOfDevices = { readonly copy: CatalogCopy; readonly labels: readonly Label[] };

/** The newest copy that the labels of these devices, and of those named in it, hold; of one catalog. */
export async function pastOfDevices(system: CatalogSystem, paths: readonly string[], wantedId: string | null): Promise<PastOfDevices> {
  const views: LabelView[] = [];
  const seen = new Set<string>();
  for (let next = paths; next.length > 0;) {
    for (const path of next.filter((each) => !seen.has(each))) views.push(...(await readCopies(system, path)));
    for (const path of next) seen.add(path);
    // A copy names devices that nobody has listed, such as regular files.
    next = [
      ...new Set(views.flatMap(({ copies }) => copies.flatMap(({ devices }) => devices.filter(({ labelled }) => labelled).map((device) => device.path)))),
    ].filter((path) => !seen.has(path));
  }
  const ids = [...new Set(views.map(({ label }) => label.catalogId))].filter((id) => wantedId === null || id === wantedId);
  const [catalogId] = ids;
  if (catalogId === undefined)
    throw new XvdError('DEVICE_NOT_FOUND', `no device here carries a label of ${wantedId === null ? 'a catalog' : `catalog ${wantedId}`}`, {
      fix: 'Name the devices: --device PATH.',
    });
  if (ids.length > 1)
    throw new XvdError('VALUE_INVALID', `the devices belong to ${ids.length} catalogs: ${ids.join(', ')}`, {
      fix: 'Name the devices of the one to bring back: --device PATH.',
    });
  const mine = views.filter(({ label }) => label.catalogId === catalogId);
  const copy = newestOf(mine.flatMap(({ copies }) => copies));
  if (copy === null)
    throw new XvdError('DEVICE_NOT_FOUND', `the labels of catalog ${catalogId} carry no readable copy of it`, { fix: 'Use a backup: `xvd recover FILE`.' });
  return { copy, labels: mine.map(({ label }) => label) };
}

function newestOf(copies: readonly CatalogCopy[]): CatalogCopy | null {
  const whole = copies.filter(({ part }) => part === null).toSorted((a, b) => b.commitNumber - a.commitNumber)[0] ?? null;
  const parts = new Map<number, CatalogCopy>();
  for (const copy of copies) {
    const known = copy.part === null ? copy : parts.get(copy.part);
    if (copy.part !== null && (known === undefined || known.commitNumber < copy.commitNumber)) parts.set(copy.part, copy);
  }
  const joined = joinParts([...parts.values()]);
  return joined !== null && (whole === null || joined.commitNumber > whole.commitNumber) ? joined : whole;
}

/** Runs of a past catalog on the devices of the present one; those of a device that is not here are left out. */
export function onPresent(runs: readonly Run[], past: readonly PoolDevice[], present: readonly PoolDevice[]): Run[] {
  return runs.flatMap(({ deviceId, firstExtent, count, clean }) => {
    const uuid = past.find(({ id }) => id === deviceId)?.uuid;
    const here = present.find((device) => device.uuid === uuid);
    return here === undefined ? [] : [{ deviceId: here.id, firstExtent, count, clean }];
  });
}
