// What each commit found of the disks that it changed: beside the last event of the commit, so that a create pays nothing for it,
// or in a row of its own when it told no event. Kept as long as the events.

import { XvdError } from '../../base/error.ts';
import { bytes, extents, wallMs } from '../../base/units.ts';
import type { Disk, DiskId } from '../../core/types.ts';
import type { DiskImage, HistoryEntry } from '../catalog.ts';
import type { DiskPart, Packed } from './images.ts';
import type { Row } from './rows.ts';
import type { Transaction } from './transaction.ts';

function diskOfPart(id: DiskId, part: DiskPart): Disk {
  const [name, pool, sizeBytes, blockBytes, createdAt, expiresAt, onExpiry, labels, preparing, suspect, lostBytes] = part;
  return {
    id,
    name: name as string | null,
    pool: pool as string,
    sizeBytes: bytes(sizeBytes as number),
    blockBytes: blockBytes as Disk['blockBytes'],
    createdAt: wallMs(createdAt as number),
    expiresAt: expiresAt === null ? null : wallMs(expiresAt as number),
    onExpiry: onExpiry as Disk['onExpiry'],
    labels: labels as Disk['labels'],
    preparing: preparing === 1,
    suspect: suspect === 1,
    lostBytes: bytes(lostBytes as number),
  };
}

export function historyOf(tx: Transaction, sinceEvent: number, eventsKept: number): readonly HistoryEntry[] {
  tx.images.writeEvent(tx.sql);
  const since = Math.max(sinceEvent, tx.meta.next_event - eventsKept);
  // Commits and events rise together: from the newest backwards, until one lies wholly before the event.
  const last = 'SELECT commit_number FROM history WHERE next_event <= ?1 ORDER BY commit_number DESC LIMIT 1';
  const sql = `SELECT commit_number, next_event, before FROM history WHERE commit_number > ifnull((${last}), 0)
    UNION ALL SELECT commit_number, id + 1, before FROM event WHERE id >= ?1 AND before IS NOT NULL ORDER BY 1 DESC`;
  return tx.sql.all(sql, since).map(entryOf);
}

function entryOf(row: Row): HistoryEntry {
  try {
    const packed = JSON.parse(String(row['before'])) as readonly Packed[];
    return { commitNumber: Number(row['commit_number']), nextEventId: Number(row['next_event']), before: packed.map(imageOf) };
  } catch (cause) {
    throw new XvdError('CATALOG_DAMAGED', `the history of commit ${row['commit_number']} is not readable`, { cause });
  }
}

function imageOf([diskId, disk, runs]: Packed): DiskImage {
  return {
    diskId,
    ...(disk === 0 ? {} : { disk: disk === null ? null : diskOfPart(diskId, disk) }),
    ...(runs === 0
      ? {}
      : { runs: runs.map(([deviceId, first, count, clean]) => ({ deviceId, firstExtent: extents(first), count: extents(count), clean: clean === 1 })) }),
  };
}

export function forgetHistory(tx: Transaction, beforeEvent: number): void {
  // From the oldest on, so that only what goes is touched.
  const first = 'SELECT commit_number FROM history WHERE next_event > ? ORDER BY commit_number LIMIT 1';
  tx.sql.run(`DELETE FROM history WHERE commit_number < (${first})`, beforeEvent);
}
