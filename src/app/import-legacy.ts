// Takes a database of 2004 over into an unused catalog: its disks with their IDs, order and leases, its partitions as devices
// of the pool. One transaction, or nothing. Nothing is written on the devices: their data begins at sector 0, so no label has
// a place there, and every run counts as dirty.

import { XvdError } from '../base/error.ts';
import { bytes, extents, sectors, wallMs } from '../base/units.ts';
import type { CatalogReader } from '../catalog/catalog.ts';
import { planLegacy } from '../core/legacy.ts';
import type { LegacyDisk, LegacyPart, LegacyPlan, LegacyProblem } from '../core/legacy.ts';
import { requireName } from '../core/name.ts';
import { checkSharing } from '../core/sharing.ts';
import type { Disk, PoolDevice } from '../core/types.ts';
import type { DeviceFacts } from '../host/host.ts';
import { change, look } from './change.ts';
import type { Change, Now } from './change.ts';
import { hostBlockBytes, refuseTwins, refuseUnusable, refuseUsed } from './device-safety.ts';
import { messageOf } from './end-vbd.ts';
import { unameOf } from './find-disk.ts';
import { deviceInfo, diskInfo } from './info.ts';
import type { Changed, DeviceInfo, DiskInfo, Warnings } from './shapes.ts';
import type { CatalogSystem } from './system.ts';

export type ImportLegacyOptions = {
  readonly file: string;
  /** `old` as in `vdisk_part.partition`; `new` the device at whose sector 0 the first extent lies. */
  readonly devices: readonly { readonly old: string; readonly new: string }[];
  /** Of the extents of a disk; default: of the rows, as data was stored. */
  readonly order?: 'row' | 'number';
  readonly pool?: string;
  readonly dryRun?: boolean;
  /** Takes devices that are in use or have no identity of their own. */
  readonly force?: boolean;
};
export type ImportLegacyResult = { readonly file: string; readonly devices: readonly DeviceInfo[]; readonly disks: readonly DiskInfo[] } & Changed & Warnings;

type NewDevice = Omit<PoolDevice, 'id'>;
type Placed = { readonly part: LegacyPart; readonly device: NewDevice; readonly facts: DeviceFacts };

/** LEGACY_DAMAGED lists every wrong row (`details.problems`); CATALOG_IN_USE, DEVICE_NOT_FOUND, DEVICE_IN_USE, DEVICE_IDENTITY_MISSING. */
export async function importLegacy(system: CatalogSystem, options: ImportLegacyOptions): Promise<ImportLegacyResult> {
  if (system.readLegacy === undefined) throw new XvdError('NOT_SUPPORTED', 'databases of 2004 cannot be read here');
  const pool = requireName(options.pool ?? 'default', 'pool');
  const tables = await system.readLegacy(options.file);
  const now = await look(system, async (reader, time) => (await refuseUsedCatalog(reader), time));
  const plan = planLegacy(tables, options.order ?? 'row', now.now);
  const problems: LegacyProblem[] = [...plan.problems];
  const placed = await placeParts(system, plan.parts, { ...options, pool }, problems);
  refuseProblems(options.file, problems);
  for (const { facts } of placed) await refuseUnsafeDevice(system, facts, options.force === true);
  const warnings = [
    ...lossWarnings(plan),
    ...placed.flatMap(({ device }) =>
      device.overcommitted ? [`${device.path} is not allocated in full: its filesystem can run out of space under the disks`] : [],
    ),
  ];
  if (options.dryRun === true) {
    const disks = plan.disks.map((disk) => diskInfo(rowOf(disk, placed, pool, now), [], now));
    return { file: options.file, devices: placed.map(({ device }) => deviceInfo({ ...device, id: 0 }, undefined)), disks, changed: false, warnings };
  }
  return change(system, 'import-legacy', async (tx) => {
    await refuseUsedCatalog(tx.writer);
    const { devices, disks } = await take(tx, plan, placed, pool);
    await tx.event('catalog.imported', options.file, { devices: devices.length, disks: disks.length });
    const usage = await tx.writer.usage(tx.now);
    return {
      file: options.file,
      devices: devices.map((device) => deviceInfo(device, usage.get(device.id))),
      disks: disks.map((disk) => diskInfo(disk, [], tx)),
      changed: true,
      warnings,
    };
  });
}

async function refuseUsedCatalog(reader: CatalogReader): Promise<void> {
  const devices = await reader.devices();
  const { disk } = await reader.highest();
  if (devices.length === 0 && disk === 0) return;
  throw new XvdError(
    'CATALOG_IN_USE',
    `the catalog has ${devices.length} devices and has given ${disk} IDs: an old database is taken over into an unused one only`,
    {
      fix: 'Set XVD_STATE to an empty folder.',
    },
  );
}

function refuseProblems(file: string, problems: readonly LegacyProblem[]): void {
  if (problems.length === 0) return;
  const lines = problems.map(({ table, rowid, message }) => `${table}${rowid === null ? '' : ` row ${rowid}`}: ${message}`);
  throw new XvdError(
    'LEGACY_DAMAGED',
    `${file}: nothing was taken over, ${problems.length} ${problems.length === 1 ? 'thing is' : 'things are'} wrong:\n${lines.join('\n')}`,
    { details: { problems } },
  );
}

async function placeParts(
  system: CatalogSystem,
  parts: readonly LegacyPart[],
  options: ImportLegacyOptions & { pool: string },
  problems: LegacyProblem[],
): Promise<Placed[]> {
  const tell = (message: string): void => void problems.push({ table: 'vdisk_part', rowid: null, message });
  for (const { old } of options.devices)
    if (!parts.some((part) => part.partition === old)) tell(`${old} is not in the database: it has ${parts.map((part) => part.partition).join(', ')}`);
  const placed: Placed[] = [];
  for (const part of parts) {
    const given = options.devices.filter(({ old }) => old === part.partition);
    const [only] = given;
    if (only === undefined || given.length > 1) {
      tell(`${part.partition}: ${given.length === 0 ? 'no device is given for it' : 'more than one device is given for it'} (--device ${part.partition}=NEW)`);
      continue;
    }
    const facts = await system.host.inspect(only.new).catch((error: unknown) => {
      tell(`${part.partition}: ${messageOf(error)}`);
    });
    if (facts === undefined) continue;
    const device = newDevice(system, part, facts, options.pool);
    for (const message of unfit(part, device, facts, placed)) tell(message);
    placed.push({ part, device, facts });
  }
  return placed;
}

function unfit(part: LegacyPart, device: NewDevice, facts: DeviceFacts, others: readonly Placed[]): string[] {
  const needed = part.extentCount * part.extentBytes;
  const found: string[] = [];
  if (needed > facts.sizeBytes) found.push(`${part.partition} has extents up to byte ${needed}, and ${facts.path} has ${facts.sizeBytes} bytes`);
  if (part.extentBytes % device.blockBytes !== 0)
    found.push(`${part.partition} has extents of ${part.extentBytes} bytes, and ${facts.path} has blocks of ${device.blockBytes}`);
  const use = (of: DeviceFacts) => ({ kind: 'pool', name: of.path, mode: 'w', footprint: of.footprint }) as const;
  for (const other of others) {
    if (checkSharing(use(facts), [use(other.facts)]).level > 0)
      found.push(`${part.partition} and ${other.part.partition} would both lie on ${facts.path} (${other.facts.path}), where their extents overlap`);
  }
  return found;
}

async function refuseUnsafeDevice(system: CatalogSystem, facts: DeviceFacts, force: boolean): Promise<void> {
  refuseUnusable(facts);
  refuseTwins(facts);
  if (force) return;
  await refuseUsed(system, facts);
  if (facts.identity.kind === 'path') throw new XvdError('DEVICE_IDENTITY_MISSING', `${facts.path} has no identity of its own`);
}

const newDevice = (system: CatalogSystem, part: LegacyPart, facts: DeviceFacts, pool: string): NewDevice => ({
  uuid: system.random.uuid(),
  pool,
  path: facts.path,
  kind: facts.kind,
  identity: facts.identity,
  drivePath: facts.drivePath,
  driveStartSector: sectors(facts.driveStartSector),
  sizeBytes: facts.sizeBytes,
  blockBytes: hostBlockBytes(facts),
  extentBytes: part.extentBytes,
  dataStartBytes: bytes(0),
  extentCount: part.extentCount,
  labelled: false,
  overcommitted: facts.sparse,
});

function rowOf(disk: LegacyDisk, placed: readonly Placed[], pool: string, { now }: Now): Disk {
  const on = new Set(disk.runs.map((run) => run.partId));
  const large = placed.some(({ part, device }) => on.has(part.partId) && device.blockBytes === 4096);
  return {
    id: disk.id,
    name: null,
    pool,
    sizeBytes: disk.sizeBytes,
    blockBytes: large ? 4096 : 512,
    // The old database did not say.
    createdAt: wallMs(Math.min(now, disk.expiresAt ?? now)),
    expiresAt: disk.expiresAt,
    onExpiry: 'revoke',
    labels: {},
    preparing: false,
    suspect: false,
    lostBytes: disk.lostBytes,
  };
}

async function take(tx: Change, plan: LegacyPlan, placed: readonly Placed[], pool: string): Promise<{ devices: PoolDevice[]; disks: Disk[] }> {
  const devices = new Map<number, PoolDevice>();
  for (const { part, device } of placed) devices.set(part.partId, await tx.writer.addDevice(device));
  const disks: Disk[] = [];
  for (const planned of plan.disks) {
    const disk = rowOf(planned, placed, pool, tx);
    const runs = planned.runs.flatMap(({ partId, firstExtent, count }) => {
      const device = devices.get(partId);
      return device === undefined ? [] : [{ deviceId: device.id, firstExtent: extents(firstExtent), count: extents(count), clean: false }];
    });
    for (const run of runs) await tx.writer.takeUnowned(run);
    await tx.writer.addDiskWithId(disk);
    await tx.writer.setRuns(disk.id, runs);
    await tx.event('disk.imported', unameOf(disk), { sizeBytes: disk.sizeBytes, expiresAt: disk.expiresAt, lostBytes: disk.lostBytes });
    disks.push(disk);
  }
  return { devices: [...devices.values()], disks };
}

const lossWarnings = (plan: LegacyPlan): string[] =>
  plan.disks
    .filter((disk) => disk.lostBytes > 0)
    .map((disk) => `${unameOf(disk)} has expired and lost ${disk.lostBytes} of its ${disk.sizeBytes} bytes: it cannot be restored`);
