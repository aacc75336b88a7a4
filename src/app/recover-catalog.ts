// Goes back to an earlier catalog, for all disks or for one. IDs never fall; every run counts as dirty afterwards; a disk
// whose extents others have had since comes back reclaimed; where not all that happened since is known, it is suspect.

import { XvdError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import { wallMs } from '../base/units.ts';
import type { CatalogReader } from '../catalog/catalog.ts';
import type { CatalogCopy } from '../core/catalog-copy.ts';
import type { Label } from '../core/label.ts';
import { recoverDisks } from '../core/recovery.ts';
import type { Claim, PastDisk } from '../core/recovery.ts';
import type { DiskId, PoolDevice, Run } from '../core/types.ts';
import { parseDiskRef } from '../core/uname.ts';
import { applyAll, applyOne } from './apply-recovery.ts';
import { change } from './change.ts';
import type { Change } from './change.ts';
import { findDisk, unameOf } from './find-disk.ts';
import { diskInfo } from './info.ts';
import { onPresent, pastBefore, pastOfDevices, pastOfFile } from './past-catalog.ts';
import { readLabels } from './read-labels.ts';
import { reapWorkers } from './reap-workers.ts';
import { planDevice } from './settle-runs.ts';
import type { Changed, DiskInfo, Warnings } from './shapes.ts';
import type { CatalogSystem } from './system.ts';
import { writeLabels } from './write-labels.ts';

export type RecoverOptions = (
  | { readonly file: string }
  /** Number of an event: what it and all later ones did to disks is undone. */
  | { readonly before: number }
  /** `devices`: where to look for labels besides the devices of the present catalog; none given: every block device of the host. */
  | { readonly fromDevices: true; readonly devices?: readonly string[] }
) & {
  /** One disk, also while others are attached. */
  readonly only?: string;
  readonly force?: boolean;
  /** Said by the composition root: the present catalog could not be read and was set aside; needs force. */
  readonly presentLost?: boolean;
};
export type RecoverResult = {
  readonly disks: readonly DiskInfo[];
  /** Of which something is lost. */
  readonly reclaimed: readonly string[];
  /** There now, not then: gone, with their IDs. */
  readonly removed: readonly string[];
  readonly suspect: boolean;
} & Changed &
  Warnings;

/** How far the numbers of a catalog may have gone on behind its last label (several times limits.labelLagCommits). */
const UNSEEN_NUMBERS = 1024;

type Past = { readonly copy: CatalogCopy; readonly labels: readonly Label[] };

/** CATALOG_IN_USE (all) or DISK_BUSY (one) while attached or being wiped; FILE_NOT_FOUND, EVENT_NOT_FOUND, DEVICE_NOT_FOUND, DISK_NOT_FOUND. */
export async function recoverCatalog(system: CatalogSystem, options: RecoverOptions): Promise<RecoverResult> {
  if (options.presentLost === true && options.force !== true) {
    throw new XvdError('CATALOG_DAMAGED', 'the present catalog cannot be read, so what happened since is not known', {
      fix: 'Use --force: every disk then comes back suspect.',
    });
  }
  await reapWorkers(system);
  const past = await gatherPast(system, options);
  const missing = past === null ? [] : await devicesToAdd(system, past.copy);
  const result = await change(system, 'recover', async (tx): Promise<RecoverResult> => {
    const devices = await presentDevices(tx, missing);
    const then = past === null ? await thenBefore(tx.writer, options) : await thenOf(tx.writer, past, devices, options.presentLost === true);
    const wanted = options.only === undefined ? null : await wantedDisk(tx.writer, options.only, then.disks);
    await refuseBusy(tx.writer, wanted);
    const bad = await tx.writer.badRuns();
    const chosen = wanted === null ? then.disks : then.disks.filter(({ disk }) => disk.id === wanted);
    const back = recoverDisks(chosen, {
      claims: then.claims,
      bad: [...bad, ...then.bad],
      devices: new Map(devices.map((device) => [device.id, device])),
      nowMs: tx.now,
      suspect: then.suspect,
    });
    const only = wanted === null ? null : (back[0] ?? null);
    if (only === null) await takeBad(tx, then.bad);
    const { removed, warnings } = only === null ? await applyAll(tx, back) : await applyOne(tx, only);
    if (past !== null) await keepNumbers(tx, past, options);
    const reclaimed = back.filter(({ disk }) => disk.lostBytes > 0).map(({ disk }) => unameOf(disk));
    await tx.event('catalog.recovered', sourceOf(options), {
      only: options.only ?? null,
      disks: back.length,
      reclaimed: reclaimed.slice(0, 100),
      removed: removed.slice(0, 100),
      suspect: then.suspect,
    });
    return { disks: await infos(tx, back), reclaimed, removed, suspect: then.suspect, changed: true, warnings };
  });
  // At once, so that the catalog that was left behind is known as an old one.
  const labels = await writeLabels(system);
  return { ...result, warnings: [...result.warnings, ...labels.warnings] };
}

const sourceOf = (options: RecoverOptions): string => ('file' in options ? options.file : 'before' in options ? `event ${options.before}` : 'labels');

async function infos(tx: Change, back: readonly PastDisk[]): Promise<DiskInfo[]> {
  const shown: DiskInfo[] = [];
  for (const { disk } of back.slice(0, limits.listPage)) shown.push(diskInfo((await tx.writer.disk(disk.id)) ?? disk, [], tx));
  return shown;
}

async function gatherPast(system: CatalogSystem, options: RecoverOptions): Promise<Past | null> {
  if ('before' in options) return null;
  const present = await system.catalog.read(async (reader) => ({
    devices: await reader.devices(),
    unused: await isUnused(reader),
    catalogId: await reader.catalogId(),
  }));
  if ('fromDevices' in options) {
    const given = options.devices ?? [];
    const listed = given.length > 0 ? given : ((await system.host.blockDevices?.()) ?? []);
    return pastOfDevices(system, [...present.devices.map(({ path }) => path), ...listed], present.unused ? null : present.catalogId);
  }
  const copy = await pastOfFile(system, options.file);
  if (!present.unused && copy.catalogId !== present.catalogId) {
    throw new XvdError('VALUE_INVALID', `${options.file} is a copy of catalog ${copy.catalogId}, and this is ${present.catalogId}`, {
      fix: 'Set XVD_STATE to the folder of that catalog, or to an empty one.',
    });
  }
  const labels: Label[] = [];
  for (const device of [...present.devices, ...copy.devices]) {
    const found = await readLabels(system, planDevice(device)).catch(() => []);
    labels.push(...found.flatMap(({ label }) => (label?.catalogId === copy.catalogId ? [label] : [])));
  }
  return { copy, labels };
}

async function isUnused(reader: CatalogReader): Promise<boolean> {
  return (await reader.devices()).length === 0 && (await reader.highest()).disk === 0;
}

/** Devices of the copy that the present catalog lacks. One that was unformatted since is not taken back. */
async function devicesToAdd(system: CatalogSystem, copy: CatalogCopy): Promise<readonly PoolDevice[]> {
  const present = await system.catalog.read(async (reader) => ({ devices: await reader.devices(), unused: await isUnused(reader) }));
  const missing = copy.devices.filter(({ uuid }) => !present.devices.some((device) => device.uuid === uuid));
  if (present.unused) return missing;
  const there: PoolDevice[] = [];
  for (const device of missing) {
    const same = await system.host.verify(planDevice(device)).then(
      () => true,
      () => false,
    );
    if (same) there.push(device);
  }
  return there;
}

async function presentDevices({ writer }: Change, missing: readonly PoolDevice[]): Promise<readonly PoolDevice[]> {
  const known = new Set((await writer.devices()).map(({ uuid }) => uuid));
  for (const { id: _, ...device } of missing) if (!known.has(device.uuid)) await writer.addDevice(device);
  return writer.devices();
}

/** Disks and bad runs of then, on the devices of now; who has had which extents since; whether all of that is known. */
type Then = { readonly disks: readonly PastDisk[]; readonly bad: readonly Run[]; readonly claims: readonly Claim[]; readonly suspect: boolean };

async function thenBefore(reader: CatalogReader, options: RecoverOptions): Promise<Then> {
  const event = 'before' in options ? options.before : 0;
  const past = await pastBefore(reader, event);
  const now = await presentDisks(reader);
  const untouched = now.filter(({ disk }) => !past.has(disk.id));
  const disks = [...untouched, ...[...past.values()].flatMap((disk) => (disk === null ? [] : [disk]))].toSorted((a, b) => a.disk.id - b.disk.id);
  return { disks, bad: [], claims: [...claimsOf(now), ...(await claimsSince(reader, (entry) => entry.nextEventId > event))], suspect: false };
}

async function thenOf(reader: CatalogReader, { copy }: Past, devices: readonly PoolDevice[], presentLost: boolean): Promise<Then> {
  const disks = copy.disks.map(({ disk, runs }) => ({ disk, runs: onPresent(runs, copy.devices, devices) }));
  const bad = onPresent(copy.bad, copy.devices, devices);
  const commit = await reader.commitNumber();
  const newer = copy.commitNumber > commit || (await reader.catalogId()) !== copy.catalogId;
  // A present catalog that is the older one knows nothing of what happened since.
  if (presentLost || newer) return { disks, bad, claims: [], suspect: true };
  const claims = [...claimsOf(await presentDisks(reader)), ...(await claimsSince(reader, (entry) => entry.commitNumber > copy.commitNumber))];
  const [first] = await reader.events(0, 1);
  const complete = first === undefined || first.id === 1 || (await reader.history(0)).some((entry) => entry.commitNumber <= copy.commitNumber);
  return { disks, bad, claims, suspect: !complete };
}

async function presentDisks(reader: CatalogReader): Promise<PastDisk[]> {
  const found: PastDisk[] = [];
  for (const disk of await reader.disks({ which: 'all', now: wallMs(0) })) found.push({ disk, runs: await reader.runs(disk.id) });
  return found;
}

const claimsOf = (disks: readonly PastDisk[]): Claim[] => disks.map(({ disk, runs }) => ({ diskId: disk.id, runs }));

async function claimsSince(
  reader: CatalogReader,
  counts: (entry: { readonly commitNumber: number; readonly nextEventId: number }) => boolean,
): Promise<Claim[]> {
  const entries = (await reader.history(0)).filter(counts);
  return entries.flatMap(({ before }) => before.flatMap(({ diskId, runs }) => (runs === undefined ? [] : [{ diskId, runs }])));
}

async function wantedDisk(reader: CatalogReader, argument: string, then: readonly PastDisk[]): Promise<DiskId> {
  const ref = parseDiskRef(argument);
  const past = then.find(({ disk }) => (ref.by === 'id' ? disk.id === ref.id : disk.name === ref.name));
  if (past !== undefined) return past.disk.id;
  const { id } = await findDisk(reader, ref);
  if (then.some(({ disk }) => disk.id === id)) return id;
  throw new XvdError('DISK_NOT_FOUND', `vd:${id} was not there then`);
}

async function refuseBusy(reader: CatalogReader, only: DiskId | null): Promise<void> {
  const vbds = await reader.vbds(only === null ? {} : { diskId: only });
  const workers = await reader.workers(only ?? undefined);
  const [vbd] = vbds;
  if (vbd === undefined && workers.length === 0) return;
  const who = vbd === undefined ? `vd:${workers[0]?.diskId} is being wiped or copied` : `${vbd.target} of domain ${vbd.domain} is attached`;
  if (only !== null) throw new XvdError('DISK_BUSY', `vd:${only} cannot go back: ${who}`);
  throw new XvdError('CATALOG_IN_USE', `the catalog cannot go back as a whole: ${who}`, { fix: 'Detach it, or bring back one disk with --only DISK.' });
}

/** What was bad then stays bad, where it is nobody's. */
async function takeBad({ writer }: Change, bad: readonly Run[]): Promise<void> {
  const known = await writer.badRuns();
  for (const run of bad) {
    if (
      known.some(
        (other) => other.deviceId === run.deviceId && other.firstExtent < run.firstExtent + run.count && run.firstExtent < other.firstExtent + other.count,
      )
    )
      continue;
    const free = (await writer.unownedRuns(run.deviceId)).some(
      (other) => other.firstExtent <= run.firstExtent && run.firstExtent + run.count <= other.firstExtent + other.count,
    );
    if (!free) continue;
    await writer.takeUnowned(run);
    await writer.addBad({ ...run, clean: false });
  }
}

/** IDs, generations and commits never fall, also not behind what no label has seen. */
async function keepNumbers({ writer }: Change, { copy, labels }: Past, options: RecoverOptions): Promise<void> {
  const other = (await writer.catalogId()) !== copy.catalogId;
  if (other) await writer.setCatalogId(copy.catalogId);
  const unseen = other || options.presentLost === true || 'fromDevices' in options ? UNSEEN_NUMBERS : 0;
  await writer.raiseNumbers({
    commit: labels.reduce((most, label) => Math.max(most, label.commitNumber), copy.commitNumber) + unseen,
    disk: labels.reduce((most, label) => Math.max(most, label.highestDiskId), copy.highest.disk) + unseen,
    generation: copy.highest.generation + unseen,
    event: copy.highest.event + unseen,
  });
}
