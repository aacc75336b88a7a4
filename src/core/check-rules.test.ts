import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { bytes, extents, sectors, wallMs, MIB } from '../base/units.ts';
import { checkCatalog, type CheckRows } from './check-rules.ts';
import type { Disk, PoolDevice, Run, Vbd } from './types.ts';

const now = wallMs(1_000_000);
const run = (deviceId: number, firstExtent: number, count: number): Run => ({
  deviceId,
  firstExtent: extents(firstExtent),
  count: extents(count),
  clean: false,
});
const owned = (diskId: number, position: number, one: Run): CheckRows['owned'][number] => ({ ...one, diskId, position });

const device: PoolDevice = {
  id: 1,
  uuid: 'uuid-1',
  pool: 'default',
  path: '/dev/sda3',
  kind: 'block',
  identity: { kind: 'path', path: '/dev/sda3' },
  drivePath: '/dev/sda',
  driveStartSector: sectors(2048),
  sizeBytes: bytes(12 * MIB),
  blockBytes: 512,
  extentBytes: bytes(MIB),
  dataStartBytes: bytes(MIB),
  extentCount: extents(10),
  labelled: true,
  overcommitted: false,
};

const disk = (id: number, changes: Partial<Disk> = {}): Disk => ({
  id,
  name: null,
  pool: 'default',
  sizeBytes: bytes(3 * MIB),
  blockBytes: 512,
  createdAt: wallMs(0),
  expiresAt: null,
  onExpiry: 'revoke',
  labels: {},
  preparing: false,
  suspect: false,
  lostBytes: bytes(0),
  ...changes,
});

const vbd = (changes: Partial<Vbd> = {}): Vbd => ({
  generation: 1,
  domain: 'web01',
  hypervisor: 'qemu',
  target: '/dev/xvda',
  vdev: 51712,
  source: { kind: 'vd', diskId: 1 },
  mode: 'w',
  driver: 'nbd',
  cache: 'none',
  state: 'attached',
  sizeBytes: bytes(3 * MIB),
  sharing: 0,
  devicePath: null,
  uri: null,
  persist: false,
  limit: null,
  delay: null,
  faults: null,
  createdAt: wallMs(0),
  bootId: 'boot',
  ...changes,
});

/** Disk 1 lives on extents 4, 5 and 0; disk 2 has lost one of its three; one extent is bad. */
const sound: CheckRows = {
  devices: [device],
  owned: [owned(1, 0, run(1, 4, 2)), owned(1, 1, run(1, 0, 1)), owned(2, 0, run(1, 1, 2))],
  unowned: [run(1, 3, 1), run(1, 7, 3)],
  bad: [run(1, 6, 1)],
  disks: [disk(1), disk(2, { expiresAt: wallMs(10), lostBytes: bytes(MIB) })],
  vbds: [
    vbd(),
    vbd({ generation: 2, target: '/dev/xvdb', vdev: 51728 }),
    vbd({ generation: 3, domain: 'web02' }),
    vbd({ generation: 4, domain: 'web03', source: { kind: 'phy', path: '/dev/sdb' } }),
  ],
  now,
};

const codes = (changes: Partial<CheckRows>): string[] => checkCatalog({ ...sound, ...changes }).map(({ code }) => code);

test('checkCatalog() finds nothing in a sound catalog, nor in an empty one', () => {
  assert.deepEqual(checkCatalog(sound), []);
  assert.deepEqual(checkCatalog({ devices: [], owned: [], unowned: [], bad: [], disks: [], vbds: [], now }), []);
});

test('an extent has exactly one owner (I1)', () => {
  assert.deepEqual(codes({ unowned: [...sound.unowned, run(1, 5, 1)] }), ['EXTENT_OWNED_TWICE']);
  assert.deepEqual(codes({ bad: [run(1, 6, 1), run(1, 6, 1)] }), ['EXTENT_OWNED_TWICE']);
  assert.deepEqual(codes({ bad: [] }), ['EXTENT_LOST']);
  assert.deepEqual(codes({ unowned: [run(1, 3, 1), run(1, 7, 2)] }), ['EXTENT_LOST']);
});

test('a run lies inside a device that exists, and is not empty (I1)', () => {
  assert.deepEqual(codes({ unowned: [run(1, 3, 1), run(1, 7, 4)] }), ['RUN_OUTSIDE_DEVICE']);
  assert.deepEqual(codes({ unowned: [...sound.unowned, run(9, 0, 1)] }), ['RUN_WITHOUT_DEVICE']);
  assert.deepEqual(codes({ bad: [run(1, 6, 1), run(1, 7, 0)] }), ['RUN_EMPTY']);
});

test('a living disk has all of its extents; of an expired one exactly lostBytes are missing (I1)', () => {
  assert.deepEqual(codes({ disks: [disk(1, { sizeBytes: bytes(3 * MIB + 4096) }), sound.disks[1] as Disk] }), ['DISK_INCOMPLETE']);
  assert.deepEqual(codes({ disks: [disk(1), disk(2, { expiresAt: wallMs(10) })] }), ['LOST_BYTES_WRONG']);
  assert.deepEqual(codes({ disks: [disk(1, { lostBytes: bytes(4096) }), sound.disks[1] as Disk] }), ['LOST_BYTES_WRONG']);
});

test('every run has a disk, in the pool of its device', () => {
  assert.deepEqual(codes({ disks: [disk(1)] }), ['RUN_WITHOUT_DISK']);
  assert.deepEqual(codes({ disks: [disk(1, { pool: 'other' }), sound.disks[1] as Disk] }), ['RUN_IN_WRONG_POOL', 'RUN_IN_WRONG_POOL']);
});

test('every VBD has a disk that exists, and a target of its own', () => {
  assert.deepEqual(codes({ vbds: [vbd({ source: { kind: 'vd', diskId: 7 } })] }), ['VBD_WITHOUT_DISK']);
  assert.deepEqual(codes({ vbds: [vbd(), vbd({ generation: 2 })] }), ['TARGET_TWICE']);
});

/** A device dealt out extent by extent: 0 = unowned, 1 and 2 = disks, 3 = bad. */
const dealt = fc.array(fc.nat(3), { minLength: 10, maxLength: 10 });

function rowsOf(places: readonly number[]): CheckRows {
  const of = (place: number): Run[] => places.flatMap((one, index) => (one === place ? [run(1, index, 1)] : []));
  const disks = [1, 2].map((id) => disk(id, { sizeBytes: bytes(of(id).length * MIB) }));
  return { ...sound, owned: [1, 2].flatMap((id) => of(id).map((one, position) => owned(id, position, one))), unowned: of(0), bad: of(3), disks, vbds: [] };
}

test('whatever way a device is dealt out is sound, and no single extent can be dropped, doubled or moved out unseen', () => {
  fc.assert(
    fc.property(dealt, fc.nat(9), (places, at) => {
      const rows = rowsOf(places);
      assert.deepEqual(checkCatalog(rows), []);
      const without = (list: readonly Run[]): Run[] => list.filter(({ firstExtent }) => firstExtent !== at);
      assert.notDeepEqual(
        checkCatalog({ ...rows, unowned: without(rows.unowned), bad: without(rows.bad), owned: rows.owned.filter(({ firstExtent }) => firstExtent !== at) }),
        [],
      );
      assert.notDeepEqual(checkCatalog({ ...rows, unowned: [...rows.unowned, run(1, at, 1)] }), []);
      assert.notDeepEqual(checkCatalog({ ...rows, bad: [...rows.bad, run(1, 10 + at, 1)] }), []);
    }),
  );
});
