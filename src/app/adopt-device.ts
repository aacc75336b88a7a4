// Binds a device of the pool to the one that replaced it: one that was moved (its label tells), or a copy on another drive.
// Shows both; what lies on it counts as dirty from then on.

import { XvdError } from '../base/error.ts';
import { MIB } from '../base/units.ts';
import type { CatalogReader, CatalogWriter } from '../catalog/catalog.ts';
import { encodeLabel, labelPlaces } from '../core/label.ts';
import type { Label } from '../core/label.ts';
import type { DeviceId, DeviceIdentity, PoolDevice } from '../core/types.ts';
import type { DeviceFacts } from '../host/host.ts';
import { change } from './change.ts';
import { hostBlockBytes, refuseTwins, refuseUnusable, refuseUsed } from './device-safety.ts';
import { deviceInfo } from './info.ts';
import { planAsIs } from './plan-as-is.ts';
import { refuseOverlap } from './pool-overlap.ts';
import { readLabels } from './read-labels.ts';
import { planDevice } from './settle-runs.ts';
import type { Changed, DeviceInfo, Warnings } from './shapes.ts';
import type { CatalogSystem } from './system.ts';
import { labelOf } from './write-labels.ts';

export type AdoptOptions = {
  /** The one that is here now. */
  readonly device: string;
  /** Path or UUID of the pool device that it takes the place of; left out: found by its label, its path, or as the only one that is missing. */
  readonly replaces?: string;
  readonly dryRun?: boolean;
  /** Also one that is in use, has no identity of its own, or carries the label of another catalog. */
  readonly force?: boolean;
};
export type DeviceSide = { readonly device: string; readonly identity: DeviceIdentity; readonly sizeBytes: number; readonly host: string | null };
export type AdoptResult = DeviceInfo & { readonly was: DeviceSide; readonly is: DeviceSide } & Changed & Warnings;

type Found = {
  readonly facts: DeviceFacts;
  readonly label: Label | null;
  readonly device: PoolDevice;
  readonly others: readonly PoolDevice[];
  readonly catalogId: string;
};

/** DEVICE_NOT_FOUND, DEVICE_BUSY (attached), DEVICE_TOO_SMALL, LABEL_FOREIGN, DEVICE_IN_USE, DEVICE_OVERLAPS_POOL; DEVICE_IDENTITY_MISMATCH
 *  for one of two that are known by one identity; VALUE_INVALID when `replaces` is needed. */
export async function adoptDevice(system: CatalogSystem, options: AdoptOptions): Promise<AdoptResult> {
  const found = await findBoth(system, options);
  const { facts, label, device } = found;
  const adopted = adoptedDevice(found);
  const was: DeviceSide = {
    device: device.path,
    identity: device.identity,
    sizeBytes: device.sizeBytes,
    host: label?.deviceUuid === device.uuid ? label.host : null,
  };
  const is: DeviceSide = { device: facts.path, identity: adopted.identity, sizeBytes: facts.sizeBytes, host: system.hostName };
  const labelKept = !device.labelled || (label?.deviceUuid === device.uuid && label.host === system.hostName && label.sizeBytes === facts.sizeBytes);
  const same = JSON.stringify(adopted) === JSON.stringify(device) && labelKept;
  if (!same) await refuseUnfit(system, found, options.force === true);
  if (same || options.dryRun === true) return { ...(await infoOf(system, device)), was, is, changed: false, warnings: [] };
  // The labels first: what a crash leaves is found again by them.
  if (device.labelled && !labelKept) await bindLabels(system, adopted, found);
  const info = await change(system, 'adopt', async (tx) => {
    await refuseBusy(tx.writer, device);
    await tx.writer.updateDevice(adopted);
    await dirtyDevice(tx.writer, device.id);
    await tx.event('device.adopted', adopted.path, { was, is });
    return deviceInfo(adopted, (await tx.writer.usage(tx.now)).get(device.id));
  });
  return { ...info, was, is, changed: true, warnings: await twins(system, device, adopted) };
}

async function findBoth(system: CatalogSystem, options: AdoptOptions): Promise<Found> {
  const facts = await system.host.inspect(options.device);
  const { devices, catalogId } = await system.catalog.read(async (reader) => ({ devices: await reader.devices(), catalogId: await reader.catalogId() }));
  const label = (await readLabels(system, planAsIs(facts))).map((found) => found.label).find((found) => found !== null) ?? null;
  const ours = label?.catalogId === catalogId ? label : null;
  const byLabel = devices.find((device) => device.uuid === ours?.deviceUuid);
  const device =
    options.replaces === undefined
      ? (byLabel ?? devices.find(({ path }) => path === facts.path) ?? (await onlyMissing(system, devices, facts)))
      : named(devices, options.replaces);
  if (byLabel !== undefined && byLabel.id !== device.id)
    throw new XvdError('DEVICE_OVERLAPS_POOL', `${facts.path} is the pool device ${byLabel.path}, not ${device.path}`);
  if (label !== null && ours === null && options.force !== true)
    throw new XvdError('LABEL_FOREIGN', `${facts.path} carries the label of catalog ${label.catalogId} (host ${label.host}, pool ${label.pool})`);
  return { facts, label, device, others: devices.filter(({ id }) => id !== device.id), catalogId };
}

function named(devices: readonly PoolDevice[], name: string): PoolDevice {
  const device = devices.find(({ path, uuid }) => path === name || uuid === name);
  if (device === undefined) throw new XvdError('DEVICE_NOT_FOUND', `no device of the pool is ${name}`);
  return device;
}

async function onlyMissing(system: CatalogSystem, devices: readonly PoolDevice[], facts: DeviceFacts): Promise<PoolDevice> {
  const missing: PoolDevice[] = [];
  for (const device of devices) {
    const there = await system.host.verify(planDevice(device)).then(
      () => true,
      () => false,
    );
    if (!there) missing.push(device);
  }
  const [only] = missing;
  if (only !== undefined && missing.length === 1) return only;
  const names = missing.length === 0 ? 'none of the pool is missing' : `missing are ${missing.map(({ path }) => path).join(', ')}`;
  throw new XvdError('VALUE_INVALID', `which device does ${facts.path} take the place of? ${names}`, { fix: 'Name it: --replaces DEVICE.' });
}

function adoptedDevice({ facts, device }: Found): PoolDevice {
  const { path, kind, drivePath, driveStartSector, sizeBytes, sparse } = facts;
  return {
    ...device,
    path,
    kind,
    drivePath,
    driveStartSector,
    sizeBytes,
    overcommitted: sparse,
    identity: device.identity.kind === 'label' ? device.identity : facts.identity,
  };
}

async function refuseUnfit(system: CatalogSystem, { facts, device, others }: Found, force: boolean): Promise<void> {
  const dataEnd = device.dataStartBytes + device.extentCount * device.extentBytes;
  const room = device.labelled ? labelPlaces(facts.sizeBytes)[1] : facts.sizeBytes;
  if (facts.sizeBytes < 2 * MIB || room < dataEnd) {
    throw new XvdError(
      'DEVICE_TOO_SMALL',
      `${facts.path} has ${facts.sizeBytes} bytes, and ${device.path} had ${device.sizeBytes} with extents up to byte ${dataEnd}`,
      { fix: 'Use a device that is at least as large.' },
    );
  }
  if (hostBlockBytes(facts) > device.blockBytes)
    throw new XvdError('NOT_SUPPORTED', `${facts.path} has blocks of 4096 bytes, and disks of ${device.path} were made for 512`);
  refuseUnusable(facts);
  if (!device.labelled) refuseTwins(facts);
  await refuseOverlap(system, facts, others, 'pool');
  await system.catalog.read((reader) => refuseBusy(reader, device));
  if (force) return;
  await refuseUsed(system, facts);
  if (!device.labelled && facts.identity.kind === 'path') throw new XvdError('DEVICE_IDENTITY_MISSING', `${facts.path} has no identity of its own`);
}

async function refuseBusy(reader: CatalogReader, device: PoolDevice): Promise<void> {
  const vbds = await reader.vbds();
  const users = [...vbds.flatMap(({ source }) => (source.kind === 'vd' ? [source.diskId] : [])), ...(await reader.workers()).map(({ diskId }) => diskId)];
  for (const diskId of new Set(users)) {
    if ((await reader.runs(diskId)).some((run) => run.deviceId === device.id)) {
      throw new XvdError('DEVICE_BUSY', `vd:${diskId}, which is attached or being wiped or copied, has extents on ${device.path}`, { fix: 'Detach it first.' });
    }
  }
}

/** Known by its own identity while it is bound; the catalog's numbers may lag, and the ring begins anew. */
async function bindLabels(system: CatalogSystem, adopted: PoolDevice, { facts, catalogId, label }: Found): Promise<void> {
  const kept = label?.catalogId === catalogId && label.deviceUuid === adopted.uuid ? label : null;
  const header = encodeLabel(labelOf(system, adopted, { catalogId, commitNumber: kept?.commitNumber ?? 0, highestDiskId: kept?.highestDiskId ?? 0 }));
  const [head, tail] = labelPlaces(facts.sizeBytes);
  await system.host.writeBytes(planAsIs(facts), tail, header);
  await system.host.writeBytes(planAsIs(facts), head, header);
}

/** What is on it is not known to read as zeros any more, whoever owns it. */
export async function dirtyDevice(writer: CatalogWriter, deviceId: DeviceId): Promise<void> {
  const owners = new Set((await writer.ownedRuns()).filter((run) => run.deviceId === deviceId && run.clean).map((run) => run.diskId));
  for (const diskId of owners) {
    const runs = await writer.runs(diskId);
    await writer.setRuns(
      diskId,
      runs.map((run) => (run.deviceId === deviceId ? { ...run, clean: false } : run)),
    );
  }
  for (const run of await writer.unownedRuns(deviceId)) {
    if (!run.clean) continue;
    await writer.takeUnowned(run);
    await writer.giveUnowned({ ...run, clean: false });
  }
}

async function infoOf(system: CatalogSystem, device: PoolDevice): Promise<DeviceInfo> {
  return change(system, 'adopt', async ({ writer, now }) => deviceInfo(device, (await writer.usage(now)).get(device.id)));
}

/** Two devices with one identity: the old one, when it is still there. */
async function twins(system: CatalogSystem, before: PoolDevice, adopted: PoolDevice): Promise<string[]> {
  if (before.path === adopted.path) return [];
  const still = await system.host.verify(planDevice(before)).then(
    () => true,
    () => false,
  );
  return still ? [`${before.path} still carries the same identity as ${adopted.path}: take it away or wipe its labels`] : [];
}
