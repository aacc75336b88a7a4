// What a database of 2004 says, checked row by row: which extents of which partition make up which disk, in which order.
// Lookup had no order then, so data lies in the order of the rows; a VBD was the sum of its extents, so a disk is as large as
// they are; sectors were counted from the start of the drive. One wrong row, and nothing is taken over.

import { bytes, extents, SECTOR_BYTES, wallMs } from '../base/units.ts';
import type { Bytes, Extents, WallMs } from '../base/units.ts';

export type LegacyRow = { readonly rowid: number; readonly values: Readonly<Record<string, string | number | null>> };
/** The rows of `vdisk_extents`, `vdisk_part` and `vdisks`, ascending by rowid, their values as they are. */
export type LegacyTables = { readonly extents: readonly LegacyRow[]; readonly parts: readonly LegacyRow[]; readonly disks: readonly LegacyRow[] };
/** Given by the composition root. FILE_NOT_FOUND, VALUE_INVALID (no database of 2004), LEGACY_DAMAGED (not readable). */
export type ReadLegacy = (file: string) => LegacyTables;

export type LegacyProblem = { readonly table: string; readonly rowid: number | null; readonly message: string };
export type LegacyRun = { readonly partId: number; readonly firstExtent: number; readonly count: number };
export type LegacyPart = { readonly partId: number; readonly partition: string; readonly extentBytes: Bytes; readonly extentCount: Extents };
export type LegacyDisk = {
  readonly id: number;
  readonly sizeBytes: Bytes;
  /** null = never. */
  readonly expiresAt: WallMs | null;
  readonly lostBytes: Bytes;
  /** In the order of the disk, neighbours joined. */
  readonly runs: readonly LegacyRun[];
};
export type LegacyPlan = { readonly parts: readonly LegacyPart[]; readonly disks: readonly LegacyDisk[]; readonly problems: readonly LegacyProblem[] };

type Extent = { readonly rowid: number; readonly number: number; readonly diskId: number; readonly partId: number; readonly extentNo: number };
type DiskRow = { readonly rowid: number; readonly id: number; readonly sectors: number; readonly expiresAt: WallMs | null };
type Part = { readonly rowid: number; readonly partId: number; readonly partition: string; readonly extentBytes: Bytes };
type Told = { readonly problems: LegacyProblem[]; readonly tell: (table: string, rowid: number | null, message: string) => void };

/** The free pool of 2004: expired when it was made. */
const POOL = 0;

/** `problems` is empty when all of it can be taken over. */
export function planLegacy(tables: LegacyTables, order: 'row' | 'number', nowMs: WallMs): LegacyPlan {
  const problems: LegacyProblem[] = [];
  const told: Told = { problems, tell: (table, rowid, message) => problems.push({ table, rowid, message }) };
  const parts = readParts(tables.parts, told);
  const disks = readDisks(tables.disks, told);
  const extentsOf = readExtents(tables.extents, parts, disks, told);
  const counts = countExtents(parts, [...extentsOf.values()].flat(), told);
  const planned = [...disks.values()]
    .filter((disk) => disk.id !== POOL)
    .map((disk) => planDisk(disk, extentsOf.get(disk.id) ?? [], { parts, order, nowMs }, told));
  return {
    parts: [...parts.values()].map(({ partId, partition, extentBytes }) => ({ partId, partition, extentBytes, extentCount: extents(counts.get(partId) ?? 0) })),
    disks: planned.toSorted((a, b) => a.id - b.id),
    problems,
  };
}

/** SQLite 2 kept numbers as text. */
function integer(row: LegacyRow, column: string): number | null {
  const value = row.values[column];
  const number = typeof value === 'string' && /^-?\d{1,16}$/.test(value) ? Number(value) : value;
  return typeof number === 'number' && Number.isSafeInteger(number) ? number : null;
}

function readParts(rows: readonly LegacyRow[], { tell }: Told): Map<number, Part> {
  const parts = new Map<number, Part>();
  const names = new Set<string>();
  for (const row of rows) {
    const partId = integer(row, 'part_id');
    const extentSectors = integer(row, 'extent_size') ?? 0;
    const partition = row.values['partition'];
    const extentBytes = extentSectors * SECTOR_BYTES;
    const say = (message: string): void => tell('vdisk_part', row.rowid, message);
    if (partId === null) say('part_id is no number');
    else if (typeof partition !== 'string' || partition === '') say('partition is no name');
    else if (extentSectors <= 0 || !Number.isSafeInteger(extentBytes)) say(`extent_size ${String(row.values['extent_size'])} is not possible`);
    else if (parts.has(partId))
      say(`${partition} has the number ${partId} of ${parts.get(partId)?.partition}: two partitions of one drive, whose extents cannot be told apart`);
    else if (names.has(partition)) say(`${partition} is there twice`);
    else {
      names.add(partition);
      parts.set(partId, { rowid: row.rowid, partId, partition, extentBytes: bytes(extentBytes) });
    }
  }
  if (rows.length === 0) tell('vdisk_part', null, 'has no rows: no device is in the pool');
  return parts;
}

function readDisks(rows: readonly LegacyRow[], { tell }: Told): Map<number, DiskRow> {
  const disks = new Map<number, DiskRow>();
  for (const row of rows) {
    const id = integer(row, 'vdisk_id');
    const sectors = integer(row, 'size');
    const expires = integer(row, 'expires');
    const expiresAt = expires === 1 ? parseDatetime(row.values['expiry_time']) : null;
    const say = (message: string): void => tell('vdisks', row.rowid, message);
    if (id === null || id < POOL) say(`vdisk_id ${String(row.values['vdisk_id'])} is not possible`);
    else if (disks.has(id)) say(`disk ${id} is there twice`);
    else if (sectors === null || (id !== POOL && sectors <= 0) || !Number.isSafeInteger(sectors * SECTOR_BYTES))
      say(`disk ${id} has the size ${String(row.values['size'])}`);
    else if (expires !== 0 && expires !== 1) say(`disk ${id} has expires ${String(row.values['expires'])}, which is neither 0 nor 1`);
    else if (expires === 1 && expiresAt === null) say(`disk ${id} expires at '${String(row.values['expiry_time'])}', which is no time`);
    else disks.set(id, { rowid: row.rowid, id, sectors, expiresAt });
  }
  if (!disks.has(POOL)) tell('vdisks', null, 'disk 0, the free pool, is missing');
  return disks;
}

/** SQLite's `datetime` text, in UTC. */
function parseDatetime(value: unknown): WallMs | null {
  const match = typeof value === 'string' ? /^(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?$/.exec(value.trim()) : null;
  if (match === null) return null;
  const [, year, month, day, hour, minute, second = '00'] = match;
  const at = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isSafeInteger(at) ? wallMs(at) : null;
}

function readExtents(rows: readonly LegacyRow[], parts: ReadonlyMap<number, Part>, disks: ReadonlyMap<number, DiskRow>, { tell }: Told): Map<number, Extent[]> {
  const places = new Map<string, Extent>();
  const numbers = new Map<string, Extent>();
  const found = new Map<number, Extent[]>();
  for (const row of rows) {
    const say = (message: string): void => tell('vdisk_extents', row.rowid, message);
    const columns = ['vdisk_extent_no', 'vdisk_id', 'part_id', 'part_extent_no'];
    const [number = -1, diskId = -1, partId = -1, extentNo = -1] = columns.map((column) => integer(row, column) ?? -1);
    if (Math.min(number, diskId, partId, extentNo) < 0) {
      say('a number in it is missing or not possible');
      continue;
    }
    const extent: Extent = { rowid: row.rowid, number, diskId, partId, extentNo };
    const sameNumber = diskId === POOL ? undefined : numbers.get(`${diskId}:${number}`);
    const samePlace = places.get(`${partId}:${extentNo}`);
    if (!disks.has(diskId)) say(`belongs to disk ${diskId}, which has no row in vdisks`);
    if (!parts.has(partId)) say(`lies on partition number ${partId}, which has no row in vdisk_part`);
    if (samePlace !== undefined)
      say(`extent ${extentNo} of ${parts.get(partId)?.partition ?? partId} belongs to disk ${samePlace.diskId} (row ${samePlace.rowid}) and to disk ${diskId}`);
    if (sameNumber !== undefined) say(`extent number ${number} of disk ${diskId} is there twice (row ${sameNumber.rowid})`);
    if (samePlace === undefined) places.set(`${partId}:${extentNo}`, extent);
    if (sameNumber === undefined) numbers.set(`${diskId}:${number}`, extent);
    const mine = found.get(diskId);
    if (mine === undefined) found.set(diskId, [extent]);
    else mine.push(extent);
  }
  return found;
}

/** Format named every extent of a partition, and no row ever went: one that is missing is damage. */
function countExtents(parts: ReadonlyMap<number, Part>, rows: readonly Extent[], { tell }: Told): Map<number, number> {
  const counts = new Map<number, number>();
  for (const part of parts.values()) {
    const named = new Set(rows.filter((row) => row.partId === part.partId).map((row) => row.extentNo));
    const count = [...named].reduce((highest, extentNo) => Math.max(highest, extentNo + 1), 0);
    counts.set(part.partId, count);
    if (count === 0) tell('vdisk_part', part.rowid, `${part.partition} has no extents`);
    const missing = missingIn(named, count);
    if (missing.length > 0) tell('vdisk_extents', null, `no row has extent ${missing.join(', ')} of ${part.partition}`);
  }
  return counts;
}

const NAMED = 10;

function missingIn(named: ReadonlySet<number>, count: number): (number | string)[] {
  if (named.size === count) return [];
  const missing: (number | string)[] = [];
  for (let extentNo = 0; extentNo < count && missing.length < NAMED; extentNo += 1) if (!named.has(extentNo)) missing.push(extentNo);
  return count - named.size > missing.length ? [...missing, `… (${count - named.size} in all)`] : missing;
}

type How = { readonly parts: ReadonlyMap<number, Part>; readonly order: 'row' | 'number'; readonly nowMs: WallMs };

function planDisk(disk: DiskRow, rows: readonly Extent[], { parts, order, nowMs }: How, { tell }: Told): LegacyDisk {
  const ordered = order === 'row' ? rows : rows.toSorted((a, b) => a.number - b.number);
  const sum = rows.reduce((total, row) => total + (parts.get(row.partId)?.extentBytes ?? 0), 0);
  const asked = disk.sectors * SECTOR_BYTES;
  const living = disk.expiresAt === null || nowMs < disk.expiresAt;
  // Create took extents until the size was covered, and gave away the last ones first: what covers it is whole.
  const lost = Math.max(0, asked - sum);
  if (living && lost > 0) tell('vdisks', disk.rowid, `disk ${disk.id} has ${sum} bytes of extents for a size of ${asked}: rows of it are missing`);
  return { id: disk.id, sizeBytes: bytes(lost > 0 ? asked : sum), expiresAt: disk.expiresAt, lostBytes: bytes(lost), runs: runsOf(ordered) };
}

function runsOf(rows: readonly Extent[]): LegacyRun[] {
  const runs: LegacyRun[] = [];
  for (const { partId, extentNo } of rows) {
    const last = runs.at(-1);
    if (last !== undefined && last.partId === partId && last.firstExtent + last.count === extentNo) runs[runs.length - 1] = { ...last, count: last.count + 1 };
    else runs.push({ partId, firstExtent: extentNo, count: 1 });
  }
  return runs;
}
