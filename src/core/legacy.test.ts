// Taking over what 2004 wrote: order, sizes, leases, and every kind of wrong row told.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wallMs } from '../base/units.ts';
import { planLegacy } from './legacy.ts';
import type { LegacyRow, LegacyTables } from './legacy.ts';

const now = wallMs(Date.UTC(2004, 5, 1));
const rows = (columns: readonly string[], values: readonly (readonly (string | number | null)[])[]): LegacyRow[] =>
  values.map((row, index) => ({ rowid: index + 1, values: Object.fromEntries(columns.map((column, at) => [column, row[at] ?? null])) }));
const extent = (values: readonly (readonly (string | number | null)[])[]): LegacyRow[] =>
  rows(['vdisk_extent_no', 'vdisk_id', 'part_id', 'part_extent_no'], values);
const part = (values: readonly (readonly (string | number | null)[])[]): LegacyRow[] => rows(['part_id', 'partition', 'extent_size'], values);
const disk = (values: readonly (readonly (string | number | null)[])[]): LegacyRow[] => rows(['vdisk_id', 'size', 'expires', 'expiry_time'], values);

/** Two partitions of 2 and of 1 sectors an extent; disk 1 lives on both, taken from the highest number down. */
const whole: LegacyTables = {
  parts: part([
    [2048, '/dev/sda3', 2],
    [2064, '/dev/sdb1', 1],
  ]),
  disks: disk([
    [0, 0, 1, '2004-01-01 00:00:00'],
    [1, 4, 0, null],
    [2, 1, 1, '2004-05-31 23:59:59'],
    [3, 1, 1, '2004-06-01 00:00:01'],
  ]),
  extents: extent([
    [0, 0, 2048, 0],
    [1, 1, 2048, 1],
    [0, 1, 2048, 2],
    [0, 2, 2064, 0],
    [0, 3, 2064, 1],
    [2, 1, 2064, 2],
  ]),
};

const messages = (tables: LegacyTables): string[] =>
  planLegacy(tables, 'row', now).problems.map(({ table, rowid, message }) => `${table} ${rowid}: ${message}`);

test('data lies in the order of the rows, the size is what the extents add up to, the leases are kept', () => {
  const { problems, disks, parts } = planLegacy(whole, 'row', now);
  assert.deepEqual(problems, []);
  assert.deepEqual(
    parts.map(({ partition, extentBytes, extentCount }) => [partition, extentBytes, extentCount]),
    [
      ['/dev/sda3', 1024, 3],
      ['/dev/sdb1', 512, 3],
    ],
  );
  assert.deepEqual(disks, [
    {
      id: 1,
      sizeBytes: 2560,
      expiresAt: null,
      lostBytes: 0,
      runs: [
        { partId: 2048, firstExtent: 1, count: 2 },
        { partId: 2064, firstExtent: 2, count: 1 },
      ],
    },
    { id: 2, sizeBytes: 512, expiresAt: Date.UTC(2004, 4, 31, 23, 59, 59), lostBytes: 0, runs: [{ partId: 2064, firstExtent: 0, count: 1 }] },
    { id: 3, sizeBytes: 512, expiresAt: Date.UTC(2004, 5, 1, 0, 0, 1), lostBytes: 0, runs: [{ partId: 2064, firstExtent: 1, count: 1 }] },
  ]);
});

test('the order of the numbers is the other choice', () => {
  const [first] = planLegacy(whole, 'number', now).disks;
  assert.deepEqual(
    first?.runs.map(({ partId, firstExtent, count }) => [partId, firstExtent, count]),
    [
      [2048, 2, 1],
      [2048, 1, 1],
      [2064, 2, 1],
    ],
  );
});

test('an expired disk that lacks extents has lost them; a living one is damage', () => {
  const short = (row: readonly (string | number | null)[]): LegacyTables => ({
    ...whole,
    disks: [...whole.disks, { rowid: 9, values: disk([row])[0]?.values ?? {} }],
  });
  const { problems, disks } = planLegacy(short([7, 8, 1, '2004-02-01 00:00:00']), 'row', now);
  assert.deepEqual(problems, []);
  assert.deepEqual([disks.at(-1)?.sizeBytes, disks.at(-1)?.lostBytes, disks.at(-1)?.runs], [4096, 4096, []]);
  assert.match(messages(short([7, 8, 0, null])).join(), /^vdisks 9: disk 7 has 0 bytes of extents for a size of 4096/);
});

test('numbers may be text, as SQLite 2 kept them', () => {
  const text = (from: readonly LegacyRow[]): LegacyRow[] =>
    from.map((row) => ({
      ...row,
      values: Object.fromEntries(Object.entries(row.values).map(([name, value]) => [name, value === null ? null : String(value)])),
    }));
  const all = { parts: text(whole.parts), disks: text(whole.disks), extents: text(whole.extents) };
  assert.deepEqual(planLegacy(all, 'row', now), planLegacy(whole, 'row', now));
});

test('every wrong row is told', () => {
  const cases: readonly (readonly [Partial<LegacyTables>, RegExp])[] = [
    [
      {
        parts: part([
          [2048, '/dev/sda3', 2],
          [2048, '/dev/sda4', 2],
          [2064, '/dev/sdb1', 1],
        ]),
      },
      /^vdisk_part 2: \/dev\/sda4 has the number 2048 of \/dev\/sda3: two partitions of one drive/,
    ],
    [
      {
        parts: part([
          [2048, '/dev/sda3', 2],
          [2064, '/dev/sda3', 1],
        ]),
      },
      /vdisk_part 2: \/dev\/sda3 is there twice/,
    ],
    [
      {
        parts: part([
          [2048, '/dev/sda3', 0],
          [2064, '/dev/sdb1', 1],
        ]),
      },
      /vdisk_part 1: extent_size 0 is not possible/,
    ],
    [{ parts: part([[2048, '/dev/sda3', 2]]) }, /vdisk_extents 4: lies on partition number 2064, which has no row/],
    [{ parts: [] }, /vdisk_part null: has no rows/],
    [{ disks: whole.disks.slice(1) }, /vdisks null: disk 0, the free pool, is missing/],
    [{ disks: whole.disks.slice(0, 3) }, /vdisk_extents 5: belongs to disk 3, which has no row/],
    [
      {
        disks: disk([
          [0, 0, 1, '2004-01-01 00:00:00'],
          [1, 4, 0, null],
          [1, 4, 0, null],
          [2, 1, 0, null],
          [3, 1, 0, null],
        ]),
      },
      /vdisks 3: disk 1 is there twice/,
    ],
    [
      {
        disks: disk([
          [0, 0, 1, '2004-01-01 00:00:00'],
          [1, 4, 1, null],
          [2, 1, 0, null],
          [3, 1, 0, null],
        ]),
      },
      /vdisks 2: disk 1 expires at 'null', which is no time/,
    ],
    [
      {
        disks: disk([
          [0, 0, 1, '2004-01-01 00:00:00'],
          [1, -4, 0, null],
          [2, 1, 0, null],
          [3, 1, 0, null],
        ]),
      },
      /vdisks 2: disk 1 has the size -4/,
    ],
    [
      { extents: [...whole.extents, { rowid: 40, values: { vdisk_extent_no: 5, vdisk_id: 2, part_id: 2048, part_extent_no: 1 } }] },
      /vdisk_extents 40: extent 1 of \/dev\/sda3 belongs to disk 1 \(row 2\) and to disk 2/,
    ],
    [
      { extents: [...whole.extents, { rowid: 40, values: { vdisk_extent_no: 2, vdisk_id: 1, part_id: 2064, part_extent_no: 3 } }] },
      /vdisk_extents 40: extent number 2 of disk 1 is there twice \(row 6\)/,
    ],
    [
      { extents: [...whole.extents, { rowid: 40, values: { vdisk_extent_no: 8, vdisk_id: 0, part_id: 2064, part_extent_no: 5 } }] },
      /vdisk_extents null: no row has extent 3, 4 of \/dev\/sdb1/,
    ],
    [
      { extents: [...whole.extents, { rowid: 40, values: { vdisk_extent_no: 8, vdisk_id: 'x', part_id: 2064, part_extent_no: 3 } }] },
      /vdisk_extents 40: a number in it is missing/,
    ],
  ];
  for (const [wrong, expected] of cases) assert.match(messages({ ...whole, ...wrong }).join('\n'), expected);
});
