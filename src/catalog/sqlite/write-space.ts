// Writes of devices and of who has their extents. What leaves one table must have entered another by the end of the write.

import { invariant } from '../../base/invariant.ts';
import { bytes, extents } from '../../base/units.ts';
import type { Run } from '../../core/types.ts';
import type { CatalogWriter } from '../catalog.ts';
import { deviceColumns, runOf } from './rows.ts';
import type { Transaction } from './transaction.ts';

type SpaceWriter = Pick<CatalogWriter, 'addDevice' | 'updateDevice' | 'removeDevice' | 'setRuns' | 'takeUnowned' | 'giveUnowned' | 'addBad' | 'removeBad'>;

export const writeSpace = (tx: Transaction): SpaceWriter => ({
  addDevice: async (added) => {
    const device = { ...added, id: tx.meta.next_device };
    tx.sql.insert('device', deviceColumns(device));
    tx.meta.next_device += 1;
    tx.changedDevices();
    const all = { deviceId: device.id, firstExtent: extents(0), count: device.extentCount, clean: false };
    // New space comes from outside.
    tx.left(all);
    insertUnowned(tx, all);
    tx.entered(all);
    return device;
  },
  updateDevice: async (device) => {
    const before = tx.device(device.id);
    invariant(before !== null, `device ${device.id} is in the catalog`);
    invariant(before.extentBytes === device.extentBytes && before.extentCount === device.extentCount, `the extents of device ${device.id} stay as they are`);
    tx.sql.update('device', 'id', tx.sql.get('SELECT * FROM device WHERE id = ?', device.id) ?? {}, deviceColumns(device));
    tx.changedDevices();
    if (before.pool === device.pool && before.blockBytes === device.blockBytes) return;
    tx.sql.run('UPDATE unowned SET pool = ?, block_bytes = ? WHERE device_id = ?', device.pool, device.blockBytes, device.id);
  },
  removeDevice: async (id) => {
    invariant(tx.device(id) !== null, `device ${id} is in the catalog`);
    invariant(tx.sql.get('SELECT 1 FROM run WHERE device_id = ? LIMIT 1', id) === undefined, `no disk owns extents of device ${id}`);
    tx.foundFree = null;
    tx.sql.run('DELETE FROM unowned WHERE device_id = ?', id);
    tx.sql.run('DELETE FROM bad WHERE device_id = ?', id);
    tx.sql.run('DELETE FROM device WHERE id = ?', id);
    tx.changedDevices();
    tx.closeAccount(id);
  },
  setRuns: async (diskId, runs) => setRuns(tx, diskId, runs),
  takeUnowned: async (run) => takeUnowned(tx, run),
  giveUnowned: async (run) => giveUnowned(tx, run),
  addBad: async (run) => {
    tx.entered(run);
    tx.sql.insert('bad', { device_id: run.deviceId, first_extent: run.firstExtent, count: run.count, clean: run.clean ? 1 : 0 });
  },
  removeBad: async (run) => {
    const gone = tx.sql.run('DELETE FROM bad WHERE device_id = ? AND first_extent = ? AND count = ?', run.deviceId, run.firstExtent, run.count);
    invariant(gone === 1, `extents ${run.firstExtent}+${run.count} of device ${run.deviceId} are one bad run`);
    tx.left(run);
  },
});

function setRuns(tx: Transaction, diskId: number, runs: readonly Run[]): void {
  const disk = tx.diskRow(diskId);
  invariant(disk !== undefined, `disk ${diskId} is in the catalog`);
  const isNew = tx.isNewDisk(diskId);
  const held = runs.reduce((sum, run) => sum + run.count * (tx.device(run.deviceId)?.extentBytes ?? 0), 0);
  const after = { ...disk, held_bytes: bytes(held) };
  tx.changedDisk(diskId, after);
  if (isNew) {
    tx.takeNewDisk();
    tx.sql.insert('disk', after);
  }
  const before = disk['held_bytes'] === 0 ? [] : tx.sql.all(runsOfDisk, diskId).map(runOf);
  tx.images.keepRuns(diskId, before);
  for (const [position, run] of runs.entries()) {
    const old = before[position];
    if (old !== undefined && same(old, run)) continue;
    tx.entered(run);
    if (old !== undefined) tx.left(old);
    tx.sql.run(old === undefined ? insertRun : updateRun, diskId, position, run.deviceId, run.firstExtent, run.count, run.clean ? 1 : 0);
  }
  if (before.length > runs.length) {
    for (const old of before.slice(runs.length)) tx.left(old);
    tx.sql.run('DELETE FROM run WHERE disk_id = ? AND position >= ?', diskId, runs.length);
  }
  if (!isNew && disk['held_bytes'] !== held) tx.sql.run('UPDATE disk SET held_bytes = ? WHERE id = ?', held, diskId);
}

const runsOfDisk = 'SELECT device_id, first_extent, count, clean FROM run WHERE disk_id = ? ORDER BY position';
const insertRun = 'INSERT INTO run (disk_id, position, device_id, first_extent, count, clean) VALUES (?, ?, ?, ?, ?, ?)';
const updateRun = 'UPDATE run SET device_id = ?3, first_extent = ?4, count = ?5, clean = ?6 WHERE disk_id = ?1 AND position = ?2';
const same = (a: Run, b: Run): boolean => a.deviceId === b.deviceId && a.firstExtent === b.firstExtent && a.count === b.count && a.clean === b.clean;

const before = 'SELECT * FROM unowned WHERE device_id = ? AND first_extent <= ? ORDER BY first_extent DESC LIMIT 1';

function takeUnowned(tx: Transaction, run: Run): void {
  const whole = unownedAt(tx, run);
  const end = run.firstExtent + run.count;
  invariant(
    run.count > 0 && whole !== null && end <= whole.firstExtent + whole.count,
    `extents ${run.firstExtent}+${run.count} of device ${run.deviceId} are one piece of unowned space`,
  );
  const tail = whole.firstExtent + whole.count - end;
  if (whole.firstExtent < run.firstExtent) resizeUnowned(tx, whole, run.firstExtent - whole.firstExtent);
  else deleteUnowned(tx, whole);
  tx.left(whole);
  if (whole.firstExtent < run.firstExtent) tx.stayed({ ...whole, count: run.firstExtent - whole.firstExtent });
  if (tail === 0) return;
  const rest = { ...whole, firstExtent: extents(end), count: extents(tail) };
  insertUnowned(tx, rest);
  tx.stayed(rest);
}

/** The run of unowned space that begins there, or is the last to begin before. */
function unownedAt(tx: Transaction, { deviceId, firstExtent }: Run): Run | null {
  const known = tx.foundFree;
  if (known !== null && known.deviceId === deviceId && known.firstExtent === firstExtent) return known;
  const row = tx.sql.get(before, deviceId, firstExtent);
  return row === undefined ? null : runOf(row);
}

function giveUnowned(tx: Transaction, run: Run): void {
  const row = tx.sql.get(before, run.deviceId, run.firstExtent);
  const left = row === undefined ? null : runOf(row);
  const end = run.firstExtent + run.count;
  const next = tx.sql.get('SELECT * FROM unowned WHERE device_id = ? AND first_extent = ?', run.deviceId, end);
  const right = next === undefined ? null : runOf(next);
  const joinsLeft = left !== null && left.firstExtent + left.count === run.firstExtent && left.clean === run.clean;
  let count = run.count as number;
  if (right !== null && right.clean === run.clean) {
    deleteUnowned(tx, right);
    tx.left(right);
    count += right.count;
  }
  if (joinsLeft) {
    resizeUnowned(tx, left, left.count + count);
    tx.left(left);
    tx.entered({ ...left, count: left.count + count });
  } else {
    const given = { ...run, count: extents(count) };
    tx.entered(given);
    insertUnowned(tx, given);
  }
}

function insertUnowned(tx: Transaction, run: Run): void {
  const device = tx.device(run.deviceId);
  invariant(device !== null, `device ${run.deviceId} is in the catalog`);
  tx.foundFree = null;
  tx.sql.insert('unowned', {
    device_id: run.deviceId,
    first_extent: run.firstExtent,
    count: run.count,
    clean: run.clean ? 1 : 0,
    pool: device.pool,
    block_bytes: device.blockBytes,
    bytes: run.count * device.extentBytes,
  });
}

const resizeUnowned = (tx: Transaction, run: Run, count: number): void => {
  tx.foundFree = null;
  tx.sql.run('UPDATE unowned SET bytes = bytes / count * ?3, count = ?3 WHERE device_id = ?1 AND first_extent = ?2', run.deviceId, run.firstExtent, count);
};

const deleteUnowned = (tx: Transaction, run: Run): void => {
  tx.foundFree = null;
  tx.sql.run('DELETE FROM unowned WHERE device_id = ? AND first_extent = ?', run.deviceId, run.firstExtent);
};
