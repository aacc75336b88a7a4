// Writes of VBDs, workers, events and the clock. Who can reach a disk is counted in its row, so that what can be reclaimed
// is found by an index. A detached VBD leaves no row: its number is not used again, and events tell its story.

import { invariant } from '../../base/invariant.ts';
import type { DiskId, Vbd } from '../../core/types.ts';
import type { CatalogWriter } from '../catalog.ts';
import { forgetHistory } from './history.ts';
import { intentColumns, vbdColumns, vbdOf, workerColumns } from './rows.ts';
import type { Transaction } from './transaction.ts';

type UserWriter = Pick<
  CatalogWriter,
  | 'storeClock'
  | 'addVbd'
  | 'updateVbd'
  | 'setVbdState'
  | 'addWorker'
  | 'removeWorker'
  | 'putIntent'
  | 'removeIntent'
  | 'addEvent'
  | 'raiseNumbers'
  | 'setCatalogId'
>;

/** Old events are deleted so many at a time: one page of the file each time, not one for every event. */
const EVENT_BATCH = 256;

export const writeUsers = (tx: Transaction, eventsKept: number): UserWriter => ({
  storeClock: async (reading, trustedMs) => {
    Object.assign((tx.sql, tx.meta), {
      clock_wall_ms: reading.wallMs,
      clock_boot_id: reading.bootId,
      clock_since_boot_ms: reading.sinceBootMs,
      clock_trusted_ms: trustedMs,
    });
  },
  addVbd: async (added) => {
    const vbd = { ...added, generation: tx.meta.next_generation };
    invariant(vbd.state !== 'detached', 'a VBD begins attached');
    if (vbd.source.kind === 'vd') reach(tx, vbd.source.diskId, 1);
    tx.sql.insert('vbd', vbdColumns(vbd));
    tx.meta.next_generation += 1;
    return vbd;
  },
  updateVbd: async (vbd) => updateVbd(tx, vbd),
  setVbdState: async (generation, state) => {
    const row = tx.sql.get('SELECT * FROM vbd WHERE generation = ?', generation);
    if (row !== undefined) updateVbd(tx, { ...vbdOf(row), state });
    else invariant(state === 'detached', `VBD ${generation} is in the catalog`);
  },
  addWorker: async (added) => {
    const worker = { ...added, id: tx.meta.next_worker };
    reach(tx, worker.diskId, 1);
    tx.sql.insert('worker', workerColumns(worker));
    tx.meta.next_worker += 1;
    return worker;
  },
  removeWorker: async (id) => {
    const row = tx.sql.get('SELECT disk_id FROM worker WHERE id = ?', id);
    if (row === undefined) return;
    tx.sql.run('DELETE FROM worker WHERE id = ?', id);
    reach(tx, Number(row['disk_id']), -1);
  },
  putIntent: async (intent) => {
    const columns = intentColumns(intent);
    const row = tx.sql.get('SELECT * FROM intent WHERE kind = ? AND key = ?', intent.kind, intent.key);
    if (row === undefined) tx.sql.insert('intent', columns);
    else tx.sql.update('intent', 'id', row, { id: row['id'] ?? null, ...columns });
  },
  removeIntent: async (kind, key) => void tx.sql.run('DELETE FROM intent WHERE kind = ? AND key = ?', kind, key),
  addEvent: async (added) => {
    const event = { ...added, id: tx.meta.next_event };
    tx.images.addEvent(tx.sql, event);
    tx.meta.next_event += 1;
    if (event.id % EVENT_BATCH === 0) {
      tx.sql.run('DELETE FROM event WHERE id <= ?', event.id - eventsKept);
      forgetHistory(tx, event.id - eventsKept);
    }
    return event;
  },
  raiseNumbers: async ({ commit = 0, disk = 0, generation = 0, event = 0 }) => {
    const { meta } = tx;
    invariant(tx.sql.database.isTransaction, 'numbers are raised inside a write');
    meta.commit_number = Math.max(meta.commit_number, commit);
    meta.next_disk = Math.max(meta.next_disk, disk + 1);
    meta.next_generation = Math.max(meta.next_generation, generation + 1);
    meta.next_event = Math.max(meta.next_event, event + 1);
  },
  setCatalogId: async (catalogId) => {
    tx.meta.catalog_id = catalogId;
    tx.sql.run('UPDATE meta SET catalog_id = ? WHERE id = 1', catalogId);
  },
});

function updateVbd(tx: Transaction, vbd: Vbd): void {
  const row = tx.sql.get('SELECT * FROM vbd WHERE generation = ?', vbd.generation);
  if (row === undefined && vbd.state === 'detached') return;
  invariant(row !== undefined, `VBD ${vbd.generation} is in the catalog`);
  const before = vbdOf(row);
  if (vbd.state === 'detached') {
    tx.sql.run('DELETE FROM vbd WHERE generation = ?', vbd.generation);
    if (before.source.kind === 'vd') reach(tx, before.source.diskId, -1);
    return;
  }
  invariant(JSON.stringify(before.source) === JSON.stringify(vbd.source), `VBD ${vbd.generation} keeps its source`);
  tx.sql.update('vbd', 'generation', row, vbdColumns(vbd));
}

function reach(tx: Transaction, diskId: DiskId, by: 1 | -1): void {
  tx.changedDisk(diskId);
  invariant(tx.sql.run('UPDATE disk SET reachers = reachers + ? WHERE id = ?', by, diskId) === 1, `disk ${diskId} is in the catalog`);
}
