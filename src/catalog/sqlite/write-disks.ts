// Writes of disks, with the labels and the spans of expiries that are looked up by.

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
    tx.images.keepDisk(disk.id, () => diskOf(row));
    const columns = diskColumns(disk);
    tx.sql.update('disk', 'id', row, columns);
    tx.changedDisk(disk.id, { ...row, ...columns });
    if (row['labels'] !== columns['labels']) {
      dropLabels(tx, diskOf(row));
      addLabels(tx, disk);
    }
    if (row['expires_at'] !== columns['expires_at']) moveInSpan(tx, disk.id, diskOf(row).expiresAt, disk.expiresAt);
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
  const columns = diskColumns(disk);
  tx.sql.insert('disk', columns);
  tx.changedDisk(disk.id, { ...columns, held_bytes: 0, reachers: 0 });
  tx.meta.next_disk = Math.max(tx.meta.next_disk, disk.id + 1);
  addLabels(tx, disk);
  widenSpan(tx, disk.id, disk.expiresAt);
}

function addLabels(tx: Transaction, disk: Disk): void {
  for (const [key, value] of Object.entries(disk.labels)) tx.sql.insert('disk_label', { key, value, disk_id: disk.id });
}

function dropLabels(tx: Transaction, disk: Disk): void {
  for (const [key, value] of Object.entries(disk.labels)) tx.sql.run('DELETE FROM disk_label WHERE key = ? AND value = ? AND disk_id = ?', key, value, disk.id);
}

const spanOf = (id: number): number => Math.floor(id / SPAN_DISKS);

const spanRow = (tx: Transaction, id: number): Row | undefined => tx.sql.get('SELECT soonest, latest FROM disk_span WHERE span = ?', spanOf(id));

function widenSpan(tx: Transaction, id: number, expiresAt: number | null, row = spanRow(tx, id)): void {
  const at = expiresAt ?? NEVER_MS;
  if (row === undefined) tx.sql.run('INSERT INTO disk_span (span, soonest, latest) VALUES (?, ?, ?)', spanOf(id), at, at);
  else if (at < Number(row['soonest']) || at > Number(row['latest'])) {
    tx.sql.run('UPDATE disk_span SET soonest = min(soonest, ?2), latest = max(latest, ?2) WHERE span = ?1', spanOf(id), at);
  }
}

function moveInSpan(tx: Transaction, id: number, from: number | null, to: number | null): void {
  const row = spanRow(tx, id);
  const edge = from ?? NEVER_MS;
  // Only what stood at an edge, and alone, can leave the span narrower than before.
  const atEdge = row === undefined || row['soonest'] === edge || row['latest'] === edge;
  if (atEdge && !isOneOfMany(tx, id, from)) settleSpan(tx, id);
  else widenSpan(tx, id, to, row);
}

/** Mostly one that has no end either, so that the look ends with the first found. */
function isOneOfMany(tx: Transaction, id: number, expiresAt: number | null): boolean {
  const first = spanOf(id) * SPAN_DISKS;
  return tx.sql.get('SELECT 1 FROM disk WHERE id BETWEEN ? AND ? AND expires_at IS ? LIMIT 1', first, first + SPAN_DISKS - 1, expiresAt) !== undefined;
}

function settleSpan(tx: Transaction, id: number): void {
  const first = spanOf(id) * SPAN_DISKS;
  const ends = `SELECT min(ifnull(expires_at, ${NEVER_MS})) AS soonest, max(ifnull(expires_at, ${NEVER_MS})) AS latest FROM disk WHERE id BETWEEN ? AND ?`;
  const row = tx.sql.get(ends, first, first + SPAN_DISKS - 1);
  const soonest = row?.['soonest'] ?? null;
  if (soonest === null) tx.sql.run('DELETE FROM disk_span WHERE span = ?', spanOf(id));
  else {
    tx.sql.run(
      'INSERT INTO disk_span (span, soonest, latest) VALUES (?, ?, ?) ON CONFLICT (span) DO UPDATE SET soonest = excluded.soonest, latest = excluded.latest',
      spanOf(id),
      soonest,
      row?.['latest'] ?? soonest,
    );
  }
}
