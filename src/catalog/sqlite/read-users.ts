// Reads of VBDs, workers, events and the numbers of the catalog itself.

import { wallMs } from '../../base/units.ts';
import type { DiskId } from '../../core/types.ts';
import type { CatalogReader } from '../catalog.ts';
import { historyOf } from './history.ts';
import { eventOf, intentOf, vbdOf, workerOf } from './rows.ts';
import type { Transaction } from './transaction.ts';

type UserReader = Pick<CatalogReader, 'catalogId' | 'commitNumber' | 'highest' | 'lastClock' | 'vbds' | 'vbd' | 'workers' | 'intents' | 'events' | 'history'>;

export const readUsers = (tx: Transaction, eventsKept: number): UserReader => ({
  catalogId: async () => (tx.sql, tx.meta.catalog_id),
  commitNumber: async () => (tx.sql, tx.meta.commit_number),
  highest: async () => (tx.sql, { disk: tx.meta.next_disk - 1, generation: tx.meta.next_generation - 1, event: tx.meta.next_event - 1 }),
  lastClock: async () => (tx.sql, lastClock(tx)),
  vbds: async (filter = {}) => {
    const { domain = null, diskId = null } = filter;
    if (diskId !== null && isOutOfReach(tx, diskId)) return [];
    const asked = '(?1 IS NULL OR domain = ?1) AND (?2 IS NULL OR disk_id = ?2)';
    const where = diskId === null ? asked : `disk_id = ?2 AND ${asked}`;
    return tx.sql.all(`SELECT * FROM vbd WHERE ${where} AND state <> 'detached' ORDER BY generation`, domain, diskId).map(vbdOf);
  },
  vbd: async (generation) => {
    const row = tx.sql.get('SELECT * FROM vbd WHERE generation = ?', generation);
    return row === undefined ? null : vbdOf(row);
  },
  workers: async (diskId) => {
    if (diskId === undefined) return tx.sql.all('SELECT * FROM worker ORDER BY id').map(workerOf);
    return isOutOfReach(tx, diskId) ? [] : tx.sql.all('SELECT * FROM worker WHERE disk_id = ? ORDER BY id', diskId).map(workerOf);
  },
  intents: async () => tx.sql.all('SELECT * FROM intent ORDER BY id').map(intentOf),
  events: async (afterId, limit) => {
    // Older rows may still be there: they are deleted many at a time.
    const oldest = tx.meta.next_event - eventsKept;
    tx.images.writeEvent(tx.sql);
    return tx.sql
      .all('SELECT id, time, type, subject, cause, data FROM event WHERE id > ? ORDER BY id LIMIT ?', Math.max(afterId, oldest - 1), limit)
      .map(eventOf);
  },
  history: async (sinceEvent) => historyOf(tx, sinceEvent, eventsKept),
});

/** By the row of the disk, which whoever asks has mostly just read: there is no VBD and no worker to look for. */
const isOutOfReach = (tx: Transaction, diskId: DiskId): boolean => tx.diskRow(diskId)?.['reachers'] === 0;

function lastClock({ meta }: Transaction): Awaited<ReturnType<CatalogReader['lastClock']>> {
  if (meta.clock_wall_ms === null || meta.clock_boot_id === null || meta.clock_since_boot_ms === null || meta.clock_trusted_ms === null) return null;
  return {
    reading: {
      wallMs: wallMs(meta.clock_wall_ms),
      bootId: meta.clock_boot_id,
      sinceBootMs: meta.clock_since_boot_ms,
    },
    trustedMs: wallMs(meta.clock_trusted_ms),
  };
}
