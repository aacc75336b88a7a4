// Reads of disks: by ID, by name, by the end of their lease, and page by page.

import { limits } from '../../base/limits.ts';
import type { Disk } from '../../core/types.ts';
import type { CatalogReader, DiskFilter } from '../catalog.ts';
import { diskOf } from './rows.ts';
import type { Row, Value } from './rows.ts';
import { NEVER_MS, SPAN_DISKS } from './schema.ts';
import type { Transaction } from './transaction.ts';

type DiskReader = Pick<CatalogReader, 'disk' | 'diskByName' | 'disks' | 'nextExpiries'>;

export const readDisks = (tx: Transaction): DiskReader => ({
  disk: async (id) => one(tx.diskRow(id)),
  diskByName: async (name) => one(tx.sql.get('SELECT * FROM disk WHERE name = ?', name)),
  disks: async (filter) => page(tx, filter),
  nextExpiries: async (after, limit) => nextExpiries(tx, after, limit).map(diskOf),
});

const one = (row: Row | undefined): Disk | null => (row === undefined ? null : diskOf(row));

/** The soonest of each pool and block size, by which the index is ordered first, and of the disks that own nothing. */
function nextExpiries(tx: Transaction, after: number, limit: number): readonly Row[] {
  const rows = tx.sql.all('SELECT * FROM disk WHERE held_bytes = 0 AND expires_at > ? ORDER BY expires_at, id LIMIT ?', after, limit);
  const nextPool = `SELECT pool, block_bytes FROM disk INDEXED BY disk_lease WHERE expires_at IS NOT NULL AND held_bytes > 0
    AND (pool, block_bytes) > (?, ?) ORDER BY pool, block_bytes LIMIT 1`;
  const ofPool = 'SELECT * FROM disk WHERE pool = ? AND block_bytes = ? AND held_bytes > 0 AND expires_at > ? ORDER BY expires_at, id LIMIT ?';
  for (let at = tx.sql.get(nextPool, '', 0); at !== undefined; at = tx.sql.get(nextPool, at['pool'] ?? '', at['block_bytes'] ?? 0)) {
    rows.push(...tx.sql.all(ofPool, at['pool'] ?? '', at['block_bytes'] ?? 0, after, limit));
  }
  return rows.toSorted((a, b) => Number(a['expires_at']) - Number(b['expires_at']) || Number(a['id']) - Number(b['id'])).slice(0, limit);
}

/**
 * A page by ID must not scan a million expired disks to find a hundred living ones: spans of IDs that hold none of those
 * asked for are skipped by disk_span, and only the others are read.
 */
function page(tx: Transaction, filter: DiskFilter): readonly Disk[] {
  const { which, now, label, afterId = 0, limit = Number.MAX_SAFE_INTEGER } = filter;
  const state = which === 'all' ? '' : which === 'living' ? `AND ifnull(disk.expires_at, ${NEVER_MS}) > ?3` : 'AND disk.expires_at <= ?3';
  const from = label === undefined ? 'disk' : 'disk_label JOIN disk ON disk.id = disk_label.disk_id AND disk_label.key = ?5 AND disk_label.value = ?6';
  const idColumn = label === undefined ? 'disk.id' : 'disk_label.disk_id';
  const sql = `SELECT disk.* FROM ${from} WHERE ${idColumn} > ?1 AND ${idColumn} <= ?2 ${state} AND ?3 IS NOT NULL ORDER BY ${idColumn} LIMIT ?4`;
  const within = (after: number, last: number, count: number): Row[] =>
    tx.sql.all(sql, after, last, now, Math.min(count, limits.listPage), ...(label === undefined ? [] : ([label.key, label.value] as Value[])));

  const found: Row[] = [];
  let after = afterId;
  for (;;) {
    const last = which === 'all' ? Number.MAX_SAFE_INTEGER : nextSpan(tx, which, now, after);
    if (last === null || found.length >= limit) return found.map(diskOf);
    const rows = within(after, last, limit - found.length);
    found.push(...rows);
    // A full batch goes on behind its last row, else behind the span; without spans a short batch is the end.
    const full = rows.length === Math.min(limit - found.length + rows.length, limits.listPage);
    if (full) after = Number(rows.at(-1)?.['id'] ?? last);
    else if (which === 'all') return found.map(diskOf);
    else after = last;
  }
}

/** The last ID of the next span after that ID which may hold such disks; null when there is none. */
function nextSpan(tx: Transaction, which: 'living' | 'expired', now: number, after: number): number | null {
  const holds = which === 'living' ? 'latest > ?' : 'soonest <= ?';
  const row = tx.sql.get(`SELECT span FROM disk_span WHERE span >= ? AND ${holds} ORDER BY span LIMIT 1`, Math.floor((after + 1) / SPAN_DISKS), now);
  return row === undefined ? null : (Number(row['span']) + 1) * SPAN_DISKS - 1;
}
