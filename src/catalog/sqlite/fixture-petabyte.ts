// A catalog of many disks, written in bulk: 16 devices of 64 TiB make the pool of 1 PiB (16,000,000 extents of 64 MiB) whatever
// the number of disks; each disk has three runs of five extents, scattered over all devices. For tests and benchmarks of size.

import { closeSync, fsyncSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

import { CATALOG_FILE } from '../../base/catalog-file.ts';
import { bytes, extents, GIB, MIB } from '../../base/units.ts';
import { device, fixedClock, seededRandom } from '../fixture.ts';
import { openSqliteCatalog } from './open.ts';
import { NEVER_MS, SPAN_DISKS } from './schema.ts';

export const DEVICES = 16;
const EXTENTS = 1_000_000;
const EXTENT_BYTES = 64 * MIB;
/** Run, then every sixteenth slot unowned and clean, so that unowned space is 200,000 pieces. */
const SLOT_EXTENTS = 5;
const SLOTS = (DEVICES * EXTENTS) / SLOT_EXTENTS;
const OWNED_SLOTS = (SLOTS / 16) * 15;
/** Odd, and no multiple of 3 or 5: walks over all owned slots in a scattered order. */
const STRIDE = 1_618_033;

export const DISK_BYTES = 3 * SLOT_EXTENTS * EXTENT_BYTES;
export const isExpired = (id: number): boolean => id % 10 >= 7;

/** Of ten disks three have no end, four end after `nowMs`, three have expired. */
export async function buildPetabyte(folder: string, disks: number, nowMs: number): Promise<void> {
  const catalog = await openSqliteCatalog({ folder, clock: fixedClock, random: seededRandom(1), create: true });
  await catalog.write(async (writer) => {
    for (let index = 0; index < DEVICES; index += 1) {
      await writer.addDevice(
        device({
          uuid: `device-${index}`,
          path: `/dev/pool${index}`,
          sizeBytes: bytes(EXTENTS * EXTENT_BYTES + GIB),
          extentBytes: bytes(EXTENT_BYTES),
          extentCount: extents(EXTENTS),
        }),
      );
    }
  });
  await catalog[Symbol.asyncDispose]();

  const database = new DatabaseSync(join(folder, CATALOG_FILE));
  database.exec('PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536');
  const indexes = database.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL").all();
  for (const { name } of indexes) database.exec(`DROP INDEX ${String(name)}`);
  database.exec('BEGIN');
  fillDisks(database, disks, nowMs);
  fillRuns(database, disks);
  database.exec('COMMIT');
  for (const { sql } of indexes) database.exec(String(sql));
  database.exec('PRAGMA journal_mode = WAL');
  database.close();
  // Or the kernel writes it out while the first figures are taken.
  const descriptor = openSync(join(folder, CATALOG_FILE), 'r');
  fsyncSync(descriptor);
  closeSync(descriptor);
}

const count = (limit: number, from = 0): string => `WITH RECURSIVE n (i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ${limit + from})`;

function fillDisks(database: DatabaseSync, disks: number, nowMs: number): void {
  const expiresAt = `CASE WHEN i % 10 < 3 THEN NULL WHEN i % 10 < 7 THEN ${nowMs} + 86400000 + i ELSE ${nowMs} - 86400000 + i END`;
  database.exec(`${count(disks, 1)} INSERT INTO disk (id, name, pool, size_bytes, block_bytes, created_at, expires_at, on_expiry, labels, preparing, suspect, lost_bytes, held_bytes)
    SELECT i, CASE WHEN i % 2 = 0 THEN 'disk-' || i END, 'default', ${DISK_BYTES}, 512, ${nowMs} - 1000000000 + i, ${expiresAt}, 'revoke', CASE WHEN i % 5 = 0 THEN '{"owner":"team-' || (i % 100) || '"}' ELSE '{}' END, 0, 0, 0, ${DISK_BYTES} FROM n`);
  database.exec(`INSERT INTO disk_label SELECT 'owner', 'team-' || (id % 100), id FROM disk WHERE labels <> '{}' ORDER BY 1, 2, 3`);
  database.exec(
    `INSERT INTO disk_span SELECT id / ${SPAN_DISKS}, min(ifnull(expires_at, ${NEVER_MS})), max(ifnull(expires_at, ${NEVER_MS})) FROM disk GROUP BY 1`,
  );
  database.exec(`UPDATE meta SET next_disk = ${disks + 1}`);
}

function fillRuns(database: DatabaseSync, disks: number): void {
  const perDevice = EXTENTS / SLOT_EXTENTS;
  const place = (slot: string): string => `${slot} / ${perDevice} + 1, ${slot} % ${perDevice} * ${SLOT_EXTENTS}, ${SLOT_EXTENTS}`;
  database.exec(`${count(disks * 3)}, at (i, slot) AS (SELECT i, (i * ${STRIDE} % ${OWNED_SLOTS}) / 15 * 16 + (i * ${STRIDE} % ${OWNED_SLOTS}) % 15 FROM n)
    INSERT INTO run (disk_id, position, device_id, first_extent, count, clean) SELECT i / 3 + 1, i % 3, ${place('slot')}, 0 FROM at`);
  // What no disk owns and is no slot of the unowned is bad: so the account of extents stays right for few disks, too.
  database.exec('DELETE FROM unowned');
  database.exec(`${count(SLOTS / 16)} INSERT INTO unowned SELECT ${place('(i * 16 + 15)')}, 1, 'default', 512, ${SLOT_EXTENTS * EXTENT_BYTES} FROM n`);
  database.exec(`${count(OWNED_SLOTS - disks * 3, disks * 3)}, at (slot) AS (SELECT (i * ${STRIDE} % ${OWNED_SLOTS}) / 15 * 16 + (i * ${STRIDE} % ${OWNED_SLOTS}) % 15 FROM n WHERE i < ${OWNED_SLOTS})
    INSERT INTO bad SELECT ${place('slot')}, 0 FROM at ORDER BY slot`);
}
