// Reads of devices and of who has their extents.

import { bytes } from '../../base/units.ts';
import type { Bytes } from '../../base/units.ts';
import type { DeviceId } from '../../core/types.ts';
import type { CatalogReader, DeviceUsage, FreeRun, OwnedRun } from '../catalog.ts';
import { diskOf, freeRunOf, runOf } from './rows.ts';
import type { Row } from './rows.ts';
import type { Transaction } from './transaction.ts';

type SpaceReader = Pick<
  CatalogReader,
  | 'devices'
  | 'device'
  | 'usage'
  | 'runs'
  | 'unownedRuns'
  | 'ownedRuns'
  | 'ownedRunsOn'
  | 'badRuns'
  | 'smallestUnowned'
  | 'longestUnowned'
  | 'nextReclaimable'
  | 'allocatableBytes'
>;

const OWNED = 'SELECT disk_id, position, device_id, first_extent, count, clean FROM run';
const ownedOf = (row: Row): OwnedRun => ({ ...runOf(row), diskId: Number(row['disk_id']), position: Number(row['position']) });

export const readSpace = (tx: Transaction): SpaceReader => ({
  devices: async () => [...tx.devices().values()],
  device: async (id) => tx.device(id),
  usage: async (now) => usage(tx, now),
  runs: async (diskId) => tx.sql.all('SELECT device_id, first_extent, count, clean FROM run WHERE disk_id = ? ORDER BY position', diskId).map(runOf),
  unownedRuns: async (deviceId) =>
    tx.sql.all('SELECT device_id, first_extent, count, clean FROM unowned WHERE device_id = ? ORDER BY first_extent', deviceId).map(runOf),
  ownedRuns: async () => tx.sql.all(`${OWNED} ORDER BY device_id, first_extent`).map(ownedOf),
  ownedRunsOn: async (deviceId, limit) => tx.sql.all(`${OWNED} WHERE device_id = ? ORDER BY first_extent LIMIT ?`, deviceId, limit).map(ownedOf),
  badRuns: async () => tx.sql.all('SELECT device_id, first_extent, count, clean FROM bad ORDER BY device_id, first_extent').map(runOf),

  smallestUnowned: async (pool, blockBytes, atLeastBytes) => {
    const row = tx.sql.get(`${unowned} AND bytes >= ?3 ORDER BY bytes, device_id, first_extent LIMIT 1`, pool, blockBytes, atLeastBytes);
    return found(tx, row);
  },
  longestUnowned: async (pool, blockBytes) => {
    const longest = 'SELECT max(bytes) FROM unowned WHERE pool = ?1 AND block_bytes = ?2';
    return found(tx, tx.sql.get(`${unowned} AND bytes = (${longest}) ORDER BY device_id, first_extent LIMIT 1`, pool, blockBytes));
  },
  nextReclaimable: async (pool, blockBytes, expiredBy) => {
    const row = tx.sql.get(`SELECT * FROM disk WHERE ${reclaimable} ORDER BY expires_at, id LIMIT 1`, pool, blockBytes, expiredBy);
    return row === undefined ? null : diskOf(row);
  },
  allocatableBytes: async (pool, blockBytes, expiredBy, enough = bytes(Number.MAX_SAFE_INTEGER)) => {
    let sum = 0;
    for (const row of tx.sql.each('SELECT bytes FROM unowned WHERE pool = ? AND block_bytes = ? ORDER BY bytes DESC', pool, blockBytes)) {
      if (sum >= enough) return bytes(sum);
      sum += Number(row['bytes']);
    }
    for (const row of tx.sql.each(`SELECT held_bytes FROM disk WHERE ${reclaimable} ORDER BY expires_at`, pool, blockBytes, expiredBy)) {
      if (sum >= enough) return bytes(sum);
      sum += Number(row['held_bytes']);
    }
    return bytes(sum);
  },
});

const unowned = 'SELECT device_id, first_extent, count, clean, bytes FROM unowned WHERE pool = ?1 AND block_bytes = ?2';
/** Mostly it is taken next. */
const found = (tx: Transaction, row: Row | undefined): FreeRun | null => (tx.foundFree = row === undefined ? null : freeRunOf(row));

/** In the words of the partial index disk_lease. */
const reclaimable = 'pool = ?1 AND block_bytes = ?2 AND expires_at <= ?3 AND held_bytes > 0 AND reachers = 0';

/** By the order of IDs, in which the runs lie too: through the index on expiries every disk would be somewhere else. */
const ended = `SELECT run.device_id AS id, total(run.count * (disk.reachers = 0)) AS reclaimable, total(run.count * (disk.reachers > 0)) AS reserved
  FROM disk CROSS JOIN run ON run.disk_id = disk.id WHERE +disk.expires_at <= ? GROUP BY run.device_id`;

function usage(tx: Transaction, now: number): ReadonlyMap<DeviceId, DeviceUsage> {
  const byDevice = (sql: string, ...values: number[]): Map<number, Row> => new Map(tx.sql.all(sql, ...values).map((row) => [Number(row['id']), row]));
  const held = byDevice('SELECT device_id AS id, total(count) AS held, total(count * clean) AS clean FROM run GROUP BY device_id');
  const over = byDevice(ended, now);
  const free = byDevice('SELECT device_id AS id, total(count) AS held, total(count * clean) AS clean FROM unowned GROUP BY device_id');
  const bad = byDevice('SELECT device_id AS id, total(count) AS held FROM bad GROUP BY device_id');
  const entries = [...tx.devices().values()].map(({ id, extentBytes }): [DeviceId, DeviceUsage] => {
    const inBytes = (from: Map<number, Row>, name: string): Bytes => bytes(Number(from.get(id)?.[name] ?? 0) * extentBytes);
    const reclaimableBytes = inBytes(over, 'reclaimable');
    const reservedBytes = inBytes(over, 'reserved');
    return [
      id,
      {
        usedBytes: bytes(inBytes(held, 'held') - reclaimableBytes - reservedBytes),
        freeBytes: bytes(inBytes(free, 'held') + reclaimableBytes),
        reservedBytes,
        badBytes: inBytes(bad, 'held'),
        cleanBytes: bytes(inBytes(held, 'clean') + inBytes(free, 'clean')),
        reclaimableBytes,
      },
    ];
  });
  return new Map(entries);
}
