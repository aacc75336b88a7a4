// Writes of disks, with the labels and the spans of expiries that are looked up by.

import { nameTaken } from './errors.ts';
import { invariant } from '../../base/invariant.ts';
import type { Disk } from '../../core/types.ts';
import type { CatalogWriter } from '../catalog.ts';
import { diskColumns, diskOf } from './rows.ts';
import type { Row } from './rows.ts';
import { NEVER_MS, SPAN_DISKS } from './schema.ts';
import type { Transaction } from './transaction.ts';

type DiskWriter = Pick<CatalogWriter, 'addDisk' | 'addDiskWithId' | 'updateDisk' | 'removeDisk'>;

export const writeDisks = (tx: Transaction): DiskWriter => ({
  addDisk: async (added) => {
    const disk: Disk = { ...added, id: tx.meta.next_disk };
    insert(tx, disk);
    return disk;
  },
  addDiskWithId: async (disk) => {
    invariant(tx.sql.get('SELECT 1 FROM disk WHERE id = ?', disk.id) === undefined, `no disk bears the ID ${disk.id}`);
    insert(tx, disk);
  },
  updateDisk: async (disk) => {
    const row = tx.diskRow(disk.id);
    invariant(row !== undefined, `disk ${disk.id} is in the catalog`);
    const before = diskOf(row);
    tx.images.keepDisk(disk.id, () => before);
    const columns = diskColumns(disk);
    tx.sql.update('disk', 'id', row, columns);
    const relabelled = row['labels'] !== columns['labels'];
    Object.assign(row, columns);
    if (relabelled) {
      dropLabels(tx, before);
      addLabels(tx, disk);
    }
    if (before.expiresAt !== disk.expiresAt) moveInSpan(tx, disk.id, before.expiresAt, disk.expiresAt);
  },
  removeDisk: async (id) => {
    const row = tx.diskRow(id);
    invariant(row !== undefined, `disk ${id} is in the catalog`);
    invariant(row['held_bytes'] === 0 && row['reachers'] === 0, `disk ${id} owns nothing and is out of reach`);
    tx.images.keepDisk(id, () => diskOf(row));
    dropLabels(tx, diskOf(row));
    tx.sql.run('DELETE FROM disk WHERE id = ?', id);
    tx.changedDisk(id);
    settleSpan(tx, id);
  },
});

function insert(tx: Transaction, disk: Disk): void {
  tx.images.keepDisk(disk.id, () => null);
  // The row is written later: that the name is free is looked for now.
  const holder = disk.name === null ? undefined : tx.sql.get('SELECT 1 FROM disk WHERE name = ?', disk.name);
  if (holder !== undefined) throw nameTaken();
  tx.meta.next_disk = Math.max(tx.meta.next_disk, disk.id + 1);
  addLabels(tx, disk);
  widenSpan(tx, disk.id, disk.expiresAt);
  tx.addNewDisk(disk.id, { ...diskColumns(disk), held_bytes: 0, reachers: 0 });
}

function addLabels(tx: Transaction, disk: Disk): void {
  for (const [key, value] of Object.entries(disk.labels)) tx.sql.insert('disk_label', { key, value, disk_id: disk.id });
}

function dropLabels(tx: Transaction, disk: Disk): void {
  for (const [key, value] of Object.entries(disk.labels)) tx.sql.run('DELETE FROM disk_label WHERE key = ? AND value = ? AND disk_id = ?', key, value, disk.id);
}

const spanOf = (id: number): number => Math.floor(id / SPAN_DISKS);

const spanRow = (tx: Transaction, id: number): Row | undefined => tx.sql.get('SELECT soonest, latest FROM disk_span WHERE span = ?', spanOf(id));

/** The latest end that moves goes so much too far, so that of a burst of disks only the first moves it. */
const SPARE_MS = 60_000;

function widenSpan(tx: Transaction, id: number, expiresAt: number | null, row = spanRow(tx, id)): void {
  const at = expiresAt ?? NEVER_MS;
  const [soonest, latest] = row === undefined ? [NEVER_MS, 0] : [Number(row['soonest']), Number(row['latest'])];
  if (row !== undefined && at >= soonest && at <= latest) return;
  storeSpan(tx, id, Math.min(at, soonest), at > latest ? Math.min(at + SPARE_MS, NEVER_MS) : latest);
}

function moveInSpan(tx: Transaction, id: number, from: number | null, to: number | null): void {
  const row = spanRow(tx, id);
  const [soonest, latest] = [Number(row?.['soonest'] ?? NEVER_MS), Number(row?.['latest'] ?? 0)];
  const at = from ?? NEVER_MS;
  // Only what stood at an edge, and alone, can leave the span narrower than before.
  const stays = row !== undefined && (at < latest - SPARE_MS || hasOne(tx, id, '>=', latest - SPARE_MS)) && (at > soonest || hasOne(tx, id, '<=', soonest));
  if (stays) widenSpan(tx, id, to, row);
  else settleSpan(tx, id);
}

function settleSpan(tx: Transaction, id: number): void {
  const first = spanOf(id) * SPAN_DISKS;
  const ends = `SELECT min(ifnull(expires_at, ${NEVER_MS})) AS soonest, max(ifnull(expires_at, ${NEVER_MS})) AS latest FROM disk WHERE id BETWEEN ? AND ?`;
  const row = tx.sql.get(ends, first, first + SPAN_DISKS - 1);
  const soonest = row?.['soonest'] ?? null;
  if (soonest === null) tx.sql.run('DELETE FROM disk_span WHERE span = ?', spanOf(id));
  else storeSpan(tx, id, Number(soonest), Number(row?.['latest'] ?? soonest));
}

function storeSpan(tx: Transaction, id: number, soonest: number, latest: number): void {
  const sql =
    'INSERT INTO disk_span (span, soonest, latest) VALUES (?, ?, ?) ON CONFLICT (span) DO UPDATE SET soonest = excluded.soonest, latest = excluded.latest';
  tx.sql.run(sql, spanOf(id), soonest, latest);
}

/** Whether a disk of the span ends so; the newest are looked at first, as mostly the oldest have gone. */
function hasOne(tx: Transaction, id: number, edge: '>=' | '<=', at: number): boolean {
  const first = spanOf(id) * SPAN_DISKS;
  return tx.sql.get(edge === '>=' ? oneAfter : oneBefore, first, first + SPAN_DISKS - 1, at) !== undefined;
}

const oneAfter = `SELECT 1 FROM disk WHERE id BETWEEN ? AND ? AND ifnull(expires_at, ${NEVER_MS}) >= ? ORDER BY id DESC LIMIT 1`;
const oneBefore = `SELECT 1 FROM disk WHERE id BETWEEN ? AND ? AND ifnull(expires_at, ${NEVER_MS}) <= ? ORDER BY id DESC LIMIT 1`;
