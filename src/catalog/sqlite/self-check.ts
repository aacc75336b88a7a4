// The store's check of itself: SQLite's own, then what is kept twice for speed against the facts. One line a problem.

import type { Connection } from './connection.ts';
import { NEVER_MS, SPAN_DISKS } from './schema.ts';

/** Each gives the rows that are wrong, as `what`. */
const questions: readonly { readonly says: string; readonly sql: string }[] = [
  {
    says: 'what a disk holds is not the sum of its runs',
    sql: `SELECT disk.id AS what FROM disk LEFT JOIN (SELECT run.disk_id, sum(run.count * device.extent_bytes) AS bytes FROM run JOIN device ON device.id = run.device_id GROUP BY run.disk_id) AS sums
      ON sums.disk_id = disk.id WHERE disk.held_bytes <> ifnull(sums.bytes, 0)`,
  },
  {
    says: 'the count of those who can reach a disk is wrong',
    sql: `SELECT id AS what FROM disk WHERE reachers <> (SELECT count(*) FROM vbd WHERE vbd.disk_id = disk.id AND state <> 'detached') + (SELECT count(*) FROM worker WHERE worker.disk_id = disk.id)`,
  },
  {
    says: 'an unowned run does not agree with its device',
    sql: `SELECT device.id || ':' || first_extent AS what FROM unowned JOIN device ON device.id = unowned.device_id
      WHERE unowned.pool <> device.pool OR unowned.block_bytes <> device.block_bytes OR unowned.bytes <> unowned.count * device.extent_bytes`,
  },
  {
    says: 'a run has no place, or two: extents of a device overlap, are missing or lie outside',
    sql: `WITH place AS (SELECT device_id, first_extent, count FROM run UNION ALL SELECT device_id, first_extent, count FROM unowned UNION ALL SELECT device_id, first_extent, count FROM bad),
      line AS (SELECT device_id, first_extent, count, lag(first_extent + count, 1, 0) OVER (PARTITION BY device_id ORDER BY first_extent) AS expected FROM place)
      SELECT device_id || ':' || first_extent AS what FROM line WHERE first_extent <> expected
      UNION ALL SELECT device.id || ':end' FROM device LEFT JOIN (SELECT device_id, max(first_extent + count) AS last FROM place GROUP BY device_id) AS ends ON ends.device_id = device.id
        WHERE extent_count <> ifnull(last, 0)`,
  },
  {
    says: 'neighbouring unowned runs are not joined',
    sql: "SELECT a.device_id || ':' || a.first_extent AS what FROM unowned AS a JOIN unowned AS b ON b.device_id = a.device_id AND b.first_extent = a.first_extent + a.count AND b.clean = a.clean",
  },
  {
    says: 'the runs of a disk are not numbered from 0',
    sql: 'SELECT disk_id AS what FROM run GROUP BY disk_id HAVING min(position) <> 0 OR max(position) <> count(*) - 1',
  },
  {
    says: 'the labels of a disk are not those it is found by',
    sql: `SELECT id AS what FROM disk WHERE labels <> '{}' AND EXISTS (SELECT 1 FROM json_each(labels) AS own WHERE NOT EXISTS (SELECT 1 FROM disk_label WHERE key = own.key AND value = own.value AND disk_id = disk.id))
      UNION ALL SELECT disk_id FROM disk_label WHERE (SELECT count(*) FROM disk JOIN json_each(disk.labels) AS own WHERE disk.id = disk_label.disk_id AND own.key = disk_label.key AND own.value = disk_label.value) = 0`,
  },
  {
    says: 'the expiries of a span of disks lie outside of its bounds',
    sql: `SELECT disk.id AS what FROM disk LEFT JOIN disk_span ON span = disk.id / ${SPAN_DISKS}
      WHERE span IS NULL OR ifnull(expires_at, ${NEVER_MS}) < soonest OR ifnull(expires_at, ${NEVER_MS}) > latest`,
  },
  {
    says: 'a number that was given already would be given again',
    sql: `SELECT 'next ids' AS what FROM meta WHERE next_device <= (SELECT ifnull(max(id), 0) FROM device) OR next_disk <= (SELECT ifnull(max(id), 0) FROM disk)
      OR next_generation <= (SELECT ifnull(max(generation), 0) FROM vbd) OR next_worker <= (SELECT ifnull(max(id), 0) FROM worker) OR next_event <= (SELECT ifnull(max(id), 0) FROM event)`,
  },
  {
    says: 'what an event or the history tells cannot be read',
    sql: `SELECT 'event ' || id AS what FROM event WHERE NOT json_valid(data) OR (before IS NOT NULL AND NOT json_valid(before))
      UNION ALL SELECT 'commit ' || commit_number FROM history WHERE NOT json_valid(before)`,
  },
];

/** So many of each kind are named. */
const NAMED = 10;

export function selfCheck(connection: Connection): readonly string[] {
  const own = connection
    .all('PRAGMA integrity_check')
    .map((row) => String(row['integrity_check']))
    .filter((line) => line !== 'ok');
  if (own.length > 0) return own.map((line) => `sqlite: ${line}`);
  const strays = connection.all('PRAGMA foreign_key_check').map((row) => `a row of ${row['table']} refers to a missing ${row['parent']}`);
  return [...strays, ...questions.flatMap((question) => ask(connection, question))];
}

function ask(connection: Connection, { says, sql }: (typeof questions)[number]): string[] {
  return connection.all(`${sql} LIMIT ${NAMED}`).map((row) => `${says}: ${row['what']}`);
}
