// Adds a device to a pool. Writes nothing on it but its two labels; takes nothing that somebody uses or may still need.

import { hostBlockBytes, refuseUnusable, refuseUnsafe } from './device-safety.ts';
import { XvdError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import { bytes, extents, MIB } from '../base/units.ts';
import { layoutDevice } from '../core/geometry.ts';
import { labelPlaces } from '../core/label.ts';
import type { Label } from '../core/label.ts';
import { requireName } from '../core/name.ts';
import { formatSize } from '../core/size.ts';
import type { PoolDevice } from '../core/types.ts';
import type { DeviceFacts } from '../host/host.ts';
import type { CatalogReader } from '../catalog/catalog.ts';
import { claimDevice } from './claim-device.ts';
import { change } from './change.ts';
import type { Change } from './change.ts';
import { deviceInfo } from './info.ts';
import { labelNewDevice } from './label-new-device.ts';
import { planAsIs } from './plan-as-is.ts';
import { findInPool, refuseOverlap } from './pool-overlap.ts';
import { planDevice } from './settle-runs.ts';
import type { Changed, DeviceInfo, FormatOptions, Warnings } from './shapes.ts';
import type { CatalogSystem } from './system.ts';
import { labelOf } from './write-labels.ts';

type NewDevice = Omit<PoolDevice, 'id'>;

/**
 * Adds `device` to the pool; `changed: false` when it is in this catalog already. DEVICE_NOT_FOUND, DEVICE_IN_USE,
 * DEVICE_CARRIES_DATA, DEVICE_OVERLAPS_POOL, DEVICE_TOO_SMALL, LABEL_FOREIGN, DEVICE_IS_SYSTEM; DEVICE_IDENTITY_MISMATCH for one of two
 * with one identity, when either is known by it.
 */
export async function formatDevice(system: CatalogSystem, options: FormatOptions): Promise<DeviceInfo & Changed & Warnings> {
  const pool = requireName(options.pool ?? 'default', 'pool');
  const facts = await system.host.inspect(options.device);
  await using claim = await claimDevice(system, facts);
  void claim;
  // Also makes the catalog: its identity goes on the labels.
  const { catalogId, devices, known } = await change(system, 'format', async ({ writer }) => ({
    catalogId: await writer.catalogId(),
    devices: await writer.devices(),
    known: await knownOf(writer),
  }));
  const there = await findInPool(system, facts, devices, catalogId);
  if (there !== null) return { ...(await infoOf(system, there)), changed: false, warnings: [] };
  refuseUnusable(facts);
  await refuseOverlap(system, facts, devices, 'pool');
  const force = options.force === true;
  await refuseUnsafe(system, facts, { force, label: options.label !== false, catalogId });

  const device = newDevice(system, facts, pool, options);
  if (options.wipe === true)
    await system.host.zero(planAsIs(facts), [{ offsetBytes: device.dataStartBytes, lengthBytes: bytes(device.extentCount * device.extentBytes) }]);
  const record = () => addCompared(system, { facts, device, wiped: options.wipe === true }, known);
  const added = device.labelled ? await labelNewDevice(system, facts, newLabel(system, device, catalogId), record) : await record();
  const warnings = device.overcommitted ? [`${device.path} is not allocated in full: its filesystem can run out of space under the disks`] : [];
  return { ...(await infoOf(system, added)), changed: true, warnings };
}

function newDevice(system: CatalogSystem, facts: DeviceFacts, pool: string, options: FormatOptions): NewDevice {
  const extentBytes = bytes(options.extentBytes ?? 64 * MIB);
  const layout = layoutDevice(facts, extentBytes);
  if (layout.kind === 'too-small') {
    const { largestExtentBytes } = layout;
    const fix = largestExtentBytes === null ? 'Use a larger device.' : `Use --extent-size ${formatSize(largestExtentBytes).replace(' ', '')} or less.`;
    throw new XvdError('DEVICE_TOO_SMALL', `${facts.path} (${formatSize(facts.sizeBytes)}) has no room for one extent of ${formatSize(extentBytes)}`, { fix });
  }
  const uuid = system.random.uuid();
  const labelled = options.label !== false;
  return {
    uuid,
    pool,
    path: facts.path,
    kind: facts.kind,
    identity: labelled ? { kind: 'label', deviceUuid: uuid } : facts.identity,
    drivePath: facts.drivePath,
    driveStartSector: facts.driveStartSector,
    sizeBytes: facts.sizeBytes,
    blockBytes: hostBlockBytes(facts),
    extentBytes,
    dataStartBytes: layout.dataStartBytes,
    extentCount: layout.extentCount,
    labelled,
    overcommitted: facts.sparse,
  };
}

/** Its numbers lag: the first writer of labels brings them up. */
const newLabel = (system: CatalogSystem, device: NewDevice, catalogId: string): Label =>
  labelOf(system, device, { catalogId, commitNumber: 0, highestDiskId: 0 });

/** What was in the catalog when the device was compared with it. */
type Known = { readonly devices: ReadonlySet<number>; readonly generations: ReadonlySet<number> };

const knownOf = async (reader: CatalogReader): Promise<Known> => ({
  devices: new Set((await reader.devices()).map(({ id }) => id)),
  generations: new Set((await reader.vbds()).map(({ generation }) => generation)),
});

type Compared = { readonly facts: DeviceFacts; readonly device: NewDevice; readonly wiped: boolean };

/** Devices and VBDs that came while the labels were written are compared with this one, too, until none has come since. */
async function addCompared(system: CatalogSystem, compared: Compared, first: Known): Promise<PoolDevice> {
  let known = first;
  for (let round = 0; round < limits.formatCompares; round += 1) {
    const added = await change(system, 'format', async (tx) => {
      const here = await knownOf(tx.writer);
      const isNew = !here.devices.isSubsetOf(known.devices) || !here.generations.isSubsetOf(known.generations);
      known = here;
      return isNew ? null : add(tx, compared);
    });
    if (added !== null) return added;
    await refuseOverlap(system, compared.facts, await system.catalog.read((reader) => reader.devices()), 'pool');
  }
  throw new XvdError('DEVICE_BUSY', `devices and VBDs are added all the while that ${compared.facts.path} is being formatted`, { fix: 'Run format again.' });
}

async function add(tx: Change, { device, wiped }: Compared): Promise<PoolDevice> {
  const added = await tx.writer.addDevice(device);
  if (wiped) {
    const all = { deviceId: added.id, firstExtent: extents(0), count: added.extentCount };
    await tx.writer.takeUnowned({ ...all, clean: false });
    await tx.writer.giveUnowned({ ...all, clean: true });
  }
  await tx.event('device.formatted', added.path, { pool: added.pool, extentBytes: added.extentBytes, extents: added.extentCount, wiped });
  return added;
}

async function infoOf(system: CatalogSystem, device: PoolDevice): Promise<DeviceInfo> {
  const usage = await change(system, 'format', ({ writer, now }) => writer.usage(now));
  return deviceInfo(device, usage.get(device.id));
}

/** Takes a device that no disk needs out of its pool and wipes its labels; expired disks lose what they had on it. */
export async function unformatDevice(system: CatalogSystem, options: { readonly device: string }): Promise<{ device: string } & Changed & Warnings> {
  const facts = await system.host.inspect(options.device);
  await using claim = await claimDevice(system, facts);
  void claim;
  const { devices, catalogId } = await system.catalog.read(async (reader) => ({ devices: await reader.devices(), catalogId: await reader.catalogId() }));
  const device = await findInPool(system, facts, devices, catalogId);
  if (device === null) throw new XvdError('DEVICE_NOT_FOUND', `${facts.path} is not in the pool`);
  // Whoever is writing its labels ends first, and nobody begins before they are wiped.
  await using labels = await system.host.claim([`label:${device.uuid}`]);
  void labels;
  const lost = await change(system, 'unformat', (tx) => remove(tx, device));
  if (device.labelled) {
    for (const place of labelPlaces(device.sizeBytes)) await system.host.writeBytes(planAsIs(facts), place, new Uint8Array(limits.labelBytes));
  }
  return {
    device: planDevice(device).path,
    changed: true,
    warnings: lost.map((uname) => `${uname} lost its extents on ${device.path} and can no longer be restored`),
  };
}

async function remove(tx: Change, device: PoolDevice): Promise<readonly string[]> {
  const { writer } = tx;
  const users = new Set((await writer.ownedRuns()).filter((run) => run.deviceId === device.id).map(({ diskId }) => diskId));
  const extentBytes = new Map((await writer.devices()).map((each) => [each.id, each.extentBytes]));
  const lost: string[] = [];
  for (const diskId of users) {
    const disk = await writer.disk(diskId);
    if (disk === null) continue;
    const reached = (await writer.vbds({ diskId })).length > 0 || (await writer.workers(diskId)).length > 0;
    if (disk.expiresAt === null || disk.expiresAt > tx.trusted || reached) {
      throw new XvdError('DEVICE_BUSY', `vd:${diskId} has extents on ${device.path}`, { fix: 'Delete the disk and detach it first.' });
    }
    const kept = (await writer.runs(diskId)).filter((run) => run.deviceId !== device.id);
    const left = kept.reduce((sum, run) => sum + run.count * (extentBytes.get(run.deviceId) ?? 0), 0);
    await writer.setRuns(diskId, kept);
    await writer.updateDisk({ ...disk, lostBytes: bytes(Math.max(disk.lostBytes, disk.sizeBytes - left)) });
    lost.push(`vd:${diskId}`);
  }
  await writer.removeDevice(device.id);
  await tx.event('device.unformatted', device.path, { pool: device.pool, lost });
  return lost;
}
