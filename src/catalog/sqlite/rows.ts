// Rows of SQLite to the nouns of core and back. Values were checked when they were written, so what does not parse here
// is damage of the file, never a bug of the caller.

import { XvdError } from '../../base/error.ts';
import { bytes, extents, sectors, wallMs } from '../../base/units.ts';
import type { Disk, Intent, PoolDevice, Run, Source, Vbd, XvdEvent } from '../../core/types.ts';
import type { ExtentWorker, FreeRun } from '../catalog.ts';

export type Value = string | number | null;
export type Row = Record<string, Value>;

const num = (row: Row, name: string): number => {
  const value = row[name];
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw damaged(name);
  return value;
};
const text = (row: Row, name: string): string => {
  const value = row[name];
  if (typeof value !== 'string') throw damaged(name);
  return value;
};
const size = (row: Row, name: string): number => {
  const value = num(row, name);
  if (value < 0) throw damaged(name);
  return value;
};
const json = (row: Row, name: string): unknown => {
  try {
    return JSON.parse(text(row, name));
  } catch (cause) {
    throw damaged(name, cause);
  }
};
const damaged = (column: string, cause?: unknown): XvdError => new XvdError('CATALOG_DAMAGED', `a row of the catalog has no readable ${column}`, { cause });

/** Columns of a table with the values of a noun, in one order. */
export type Columns = Readonly<Record<string, Value>>;

export const deviceOf = (row: Row): PoolDevice => ({
  id: num(row, 'id'),
  uuid: text(row, 'uuid'),
  pool: text(row, 'pool'),
  path: text(row, 'path'),
  kind: text(row, 'kind') as PoolDevice['kind'],
  identity: json(row, 'identity') as PoolDevice['identity'],
  drivePath: text(row, 'drive_path'),
  driveStartSector: sectors(size(row, 'drive_start_sector')),
  sizeBytes: bytes(size(row, 'size_bytes')),
  blockBytes: num(row, 'block_bytes') as PoolDevice['blockBytes'],
  extentBytes: bytes(size(row, 'extent_bytes')),
  dataStartBytes: bytes(size(row, 'data_start_bytes')),
  extentCount: extents(size(row, 'extent_count')),
  labelled: num(row, 'labelled') !== 0,
  overcommitted: num(row, 'overcommitted') !== 0,
});

export const deviceColumns = (device: PoolDevice): Columns => ({
  id: device.id,
  uuid: device.uuid,
  pool: device.pool,
  path: device.path,
  kind: device.kind,
  identity: JSON.stringify(device.identity),
  drive_path: device.drivePath,
  drive_start_sector: device.driveStartSector,
  size_bytes: device.sizeBytes,
  block_bytes: device.blockBytes,
  extent_bytes: device.extentBytes,
  data_start_bytes: device.dataStartBytes,
  extent_count: device.extentCount,
  labelled: device.labelled ? 1 : 0,
  overcommitted: device.overcommitted ? 1 : 0,
});

export const diskOf = (row: Row): Disk => ({
  id: num(row, 'id'),
  name: row['name'] === null ? null : text(row, 'name'),
  pool: text(row, 'pool'),
  sizeBytes: bytes(size(row, 'size_bytes')),
  blockBytes: num(row, 'block_bytes') as Disk['blockBytes'],
  createdAt: wallMs(num(row, 'created_at')),
  expiresAt: row['expires_at'] === null ? null : wallMs(num(row, 'expires_at')),
  onExpiry: text(row, 'on_expiry') as Disk['onExpiry'],
  labels: row['labels'] === '{}' ? {} : (json(row, 'labels') as Disk['labels']),
  preparing: num(row, 'preparing') !== 0,
  suspect: num(row, 'suspect') !== 0,
  lostBytes: bytes(size(row, 'lost_bytes')),
});

export const diskColumns = (disk: Disk): Columns => ({
  id: disk.id,
  name: disk.name,
  pool: disk.pool,
  size_bytes: disk.sizeBytes,
  block_bytes: disk.blockBytes,
  created_at: disk.createdAt,
  expires_at: disk.expiresAt,
  on_expiry: disk.onExpiry,
  labels: JSON.stringify(disk.labels),
  preparing: disk.preparing ? 1 : 0,
  suspect: disk.suspect ? 1 : 0,
  lost_bytes: disk.lostBytes,
});

export const runOf = (row: Row): Run => ({
  deviceId: num(row, 'device_id'),
  firstExtent: extents(size(row, 'first_extent')),
  count: extents(size(row, 'count')),
  clean: num(row, 'clean') !== 0,
});

export const freeRunOf = (row: Row): FreeRun => {
  const run = runOf(row);
  const total = size(row, 'bytes');
  return { ...run, extentBytes: bytes(total / run.count), bytes: bytes(total) };
};

const sourceOf = (row: Row): Source => (row['disk_id'] === null ? { kind: 'phy', path: text(row, 'phy_path') } : { kind: 'vd', diskId: num(row, 'disk_id') });

export const vbdOf = (row: Row): Vbd => ({
  generation: num(row, 'generation'),
  domain: text(row, 'domain'),
  hypervisor: text(row, 'hypervisor') as Vbd['hypervisor'],
  target: text(row, 'target'),
  vdev: num(row, 'vdev'),
  source: sourceOf(row),
  mode: text(row, 'mode') as Vbd['mode'],
  driver: text(row, 'driver') as Vbd['driver'],
  cache: text(row, 'cache') as Vbd['cache'],
  state: text(row, 'state') as Vbd['state'],
  sizeBytes: bytes(size(row, 'size_bytes')),
  sharing: num(row, 'sharing') as Vbd['sharing'],
  devicePath: row['device_path'] === null ? null : text(row, 'device_path'),
  uri: row['uri'] === null ? null : text(row, 'uri'),
  persist: num(row, 'persist') !== 0,
  limit: row['rate_limit'] === null ? null : text(row, 'rate_limit'),
  delay: row['delay'] === null ? null : text(row, 'delay'),
  faults: row['faults'] === null ? null : text(row, 'faults'),
  createdAt: wallMs(num(row, 'created_at')),
  bootId: text(row, 'boot_id'),
});

export const vbdColumns = (vbd: Vbd): Columns => ({
  generation: vbd.generation,
  domain: vbd.domain,
  hypervisor: vbd.hypervisor,
  target: vbd.target,
  vdev: vbd.vdev,
  disk_id: vbd.source.kind === 'vd' ? vbd.source.diskId : null,
  phy_path: vbd.source.kind === 'phy' ? vbd.source.path : null,
  mode: vbd.mode,
  driver: vbd.driver,
  cache: vbd.cache,
  state: vbd.state,
  size_bytes: vbd.sizeBytes,
  sharing: vbd.sharing,
  device_path: vbd.devicePath,
  uri: vbd.uri,
  persist: vbd.persist ? 1 : 0,
  rate_limit: vbd.limit,
  delay: vbd.delay,
  faults: vbd.faults,
  created_at: vbd.createdAt,
  boot_id: vbd.bootId,
});

export const workerOf = (row: Row): ExtentWorker => ({
  id: num(row, 'id'),
  kind: text(row, 'kind') as ExtentWorker['kind'],
  diskId: num(row, 'disk_id'),
  bootId: text(row, 'boot_id'),
  pid: num(row, 'pid'),
  startTicks: num(row, 'start_ticks'),
  pipe: text(row, 'pipe'),
});

export const workerColumns = (worker: ExtentWorker): Columns => ({
  id: worker.id,
  kind: worker.kind,
  disk_id: worker.diskId,
  boot_id: worker.bootId,
  pid: worker.pid,
  start_ticks: worker.startTicks,
  pipe: worker.pipe,
});

export const intentOf = (row: Row): Intent =>
  ({
    kind: text(row, 'kind'),
    key: text(row, 'key'),
    bootId: text(row, 'boot_id'),
    problem: row['problem'] === null ? null : text(row, 'problem'),
    value: json(row, 'value'),
  }) as Intent;

export const intentColumns = ({ kind, key, bootId, problem, value }: Intent): Columns => ({
  kind,
  key,
  boot_id: bootId,
  problem,
  value: JSON.stringify(value),
});

export const eventOf = (row: Row): XvdEvent => ({
  id: num(row, 'id'),
  time: wallMs(num(row, 'time')),
  type: text(row, 'type'),
  subject: text(row, 'subject'),
  cause: text(row, 'cause'),
  data: json(row, 'data') as XvdEvent['data'],
});

export const eventColumns = (event: XvdEvent): Columns => ({
  id: event.id,
  time: event.time,
  type: event.type,
  subject: event.subject,
  cause: event.cause,
  data: JSON.stringify(event.data),
});
