// One transaction on one connection: the row of numbers that every commit rewrites (commit number, next IDs, clock), held in
// memory until the commit, and the account of extents that must balance by then.

import { XvdError } from '../../base/error.ts';
import { invariant } from '../../base/invariant.ts';
import type { DeviceId, DiskId, PoolDevice, Run } from '../../core/types.ts';
import type { Connection } from './connection.ts';
import { Images } from './images.ts';
import { readDevices } from './device-cache.ts';
import type { DeviceCache, Devices } from './device-cache.ts';
import type { Columns, Row } from './rows.ts';

export type Meta = {
  catalog_id: string;
  commit_number: number;
  next_device: number;
  next_disk: number;
  next_generation: number;
  next_worker: number;
  next_event: number;
  device_commit: number;
  clock_wall_ms: number | null;
  clock_boot_id: string | null;
  clock_since_boot_ms: number | null;
  clock_trusted_ms: number | null;
};

export type Place = { readonly deviceId: DeviceId; readonly firstExtent: number; readonly count: number };

export class Transaction {
  #meta: Meta | null = null;
  /** Disks as this transaction last saw or left them. */
  readonly #disks = new Map<DiskId, Row>();
  /** What it has found of the disks that it changes. */
  readonly images = new Images();
  readonly #connection: Connection;
  readonly #cache: DeviceCache;
  /** Read anew, once this transaction has changed some. */
  #ownDevices: Devices | null = null;
  #devicesChanged = false;
  /** Extents that left a table and have not entered another yet, by device. */
  readonly #astray = new Map<DeviceId, number>();
  readonly #touched: Place[] = [];
  /** The row of a new disk that is not written yet: mostly its runs follow at once, and then it is written once, with what it holds. */
  #newDisk: Columns | null = null;
  #foundFree: Run | null = null;
  #alive = true;

  constructor(connection: Connection, cache: DeviceCache) {
    this.#connection = connection;
    this.#cache = cache;
  }

  /** Read when first needed: many reads do without. */
  get meta(): Meta {
    if (this.#meta !== null) return this.#meta;
    const meta = this.sql.get('SELECT * FROM meta WHERE id = 1');
    if (meta === undefined) throw new XvdError('CATALOG_DAMAGED', `the catalog ${this.sql.path} has lost its row of numbers`);
    return (this.#meta = meta as unknown as Meta);
  }

  diskRow(id: DiskId): Row | undefined {
    this.#mustLive();
    const known = this.#disks.get(id);
    if (known !== undefined) return known;
    const row = this.sql.get('SELECT * FROM disk WHERE id = ?', id);
    if (row !== undefined) this.#disks.set(id, row);
    return row;
  }

  /** What it is now; left out: to be read again. */
  changedDisk(id: DiskId, row?: Row): void {
    if (row === undefined) this.#disks.delete(id);
    else this.#disks.set(id, row);
  }

  /** The connection, as long as the transaction lives. Whoever asks it anything finds all that was written before. */
  get sql(): Connection {
    this.#mustLive();
    this.#flush();
    return this.#connection;
  }

  #flush(): void {
    if (this.#newDisk !== null) this.#connection.insert('disk', this.takeNewDisk());
  }

  #mustLive(): void {
    invariant(this.#alive, 'the transaction of the catalog is over: its object is dead');
  }

  /** Written when the connection is next asked for, or by whoever takes it. */
  addNewDisk(id: DiskId, row: Columns): void {
    this.#flush();
    this.#newDisk = row;
    this.#disks.set(id, row);
  }

  isNewDisk(id: DiskId): boolean {
    return this.#newDisk?.['id'] === id;
  }

  takeNewDisk(): Columns {
    const row = this.#newDisk;
    invariant(row !== null, 'a new disk waits to be written');
    this.#newDisk = null;
    return row;
  }

  /** The unowned run that was found last, as long as no unowned space has changed since. */
  get foundFree(): Run | null {
    return this.#foundFree;
  }

  set foundFree(run: Run | null) {
    this.#foundFree = run;
  }

  end(): void {
    this.#alive = false;
  }

  devices(): Devices {
    this.#mustLive();
    if (!this.#devicesChanged) return this.#cache.at(this.#connection, this.meta.catalog_id, this.meta.device_commit);
    return (this.#ownDevices ??= readDevices(this.sql));
  }

  device(id: DeviceId): PoolDevice | null {
    return this.devices().get(id) ?? null;
  }

  changedDevices(): void {
    this.#devicesChanged = true;
    this.#ownDevices = null;
  }

  /** The device's account is closed with it. */
  closeAccount(id: DeviceId): void {
    this.#astray.delete(id);
  }

  left(place: Place): void {
    this.#astray.set(place.deviceId, (this.#astray.get(place.deviceId) ?? 0) + place.count);
  }

  /** Again, what was unowned at the start of a step and still is: nothing new can overlap it. */
  stayed(place: Place): void {
    this.#astray.set(place.deviceId, (this.#astray.get(place.deviceId) ?? 0) - place.count);
  }

  entered(place: Place): void {
    const device = this.device(place.deviceId);
    invariant(device !== null, `device ${place.deviceId} is in the catalog`);
    invariant(
      place.count > 0 && place.firstExtent >= 0 && place.firstExtent + place.count <= device.extentCount,
      `extents ${place.firstExtent}+${place.count} lie inside device ${device.id}`,
    );
    this.stayed(place);
    this.#touched.push(place);
  }

  /** At the end of a write: proves its account and stores the numbers. */
  settle(): void {
    this.#alive = true;
    this.#prove();
    this.#storeMeta();
    this.#alive = false;
  }

  /** I1: every extent that moved is in exactly one place. */
  #prove(): void {
    for (const [deviceId, count] of this.#astray) invariant(count === 0, `${count} extents of device ${deviceId} have no place, or two`);
    for (const place of this.#touched) {
      if (this.device(place.deviceId) !== null) this.#proveAlone(place);
    }
  }

  #proveAlone({ deviceId, firstExtent, count }: Place): void {
    const inside = this.sql
      .all(around, deviceId, firstExtent + count)
      .map((row) => ({ first: Number(row['first_extent']), end: Number(row['first_extent']) + Number(row['count']) }))
      .filter((run) => run.end > firstExtent);
    // Mostly it is there as it was entered; it may also have been left again since, or joined with others.
    if (inside.length < 2) return;
    inside.sort((a, b) => a.first - b.first);
    for (const [index, run] of inside.entries()) {
      const before = inside[index - 1];
      invariant(before === undefined || before.end <= run.first, `extent ${run.first} of device ${deviceId} has one owner`);
    }
  }

  #storeMeta(): void {
    const { meta } = this;
    meta.commit_number += 1;
    if (this.#devicesChanged) meta.device_commit = meta.commit_number;
    this.images.store(this.sql, meta.commit_number, meta.next_event);
    this.sql.run(updateMeta, ...metaNames.map((name) => meta[name]));
  }
}

const metaNames = [
  'commit_number',
  'next_device',
  'next_disk',
  'next_generation',
  'next_worker',
  'next_event',
  'device_commit',
  'clock_wall_ms',
  'clock_boot_id',
  'clock_since_boot_ms',
  'clock_trusted_ms',
] as const satisfies readonly (keyof Meta)[];
const updateMeta = `UPDATE meta SET ${metaNames.map((name) => `${name} = ?`).join(', ')} WHERE id = 1`;

// The last two of each table that begin before its end: whatever reaches into it is among them, or overlaps one of them.
const around = ['run', 'unowned', 'bad']
  .map((table) => `SELECT * FROM (SELECT first_extent, count FROM ${table} WHERE device_id = ?1 AND first_extent < ?2 ORDER BY first_extent DESC LIMIT 2)`)
  .join(' UNION ALL ');
