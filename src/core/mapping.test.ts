import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { XvdError } from '../base/error.ts';
import { bytes, extents, MIB, sectors } from '../base/units.ts';
import { checkCatalog } from './check-rules.ts';
import { layoutDevice } from './geometry.ts';
import { extentList, segmentsOf } from './mapping.ts';
import { joinRuns, takeFromUnowned, takeTail } from './run.ts';
import type { PoolDevice, Run } from './types.ts';

const device = (id: number, startSector: number, over: Partial<PoolDevice> = {}): PoolDevice => ({
  id,
  uuid: `uuid-${id}`,
  pool: 'default',
  path: `/dev/sda${id}`,
  kind: 'block',
  identity: { kind: 'path', path: `/dev/sda${id}` },
  drivePath: '/dev/sda',
  driveStartSector: sectors(startSector),
  sizeBytes: bytes(12 * MIB),
  blockBytes: 512,
  extentBytes: bytes(MIB),
  dataStartBytes: bytes(MIB),
  extentCount: extents(10),
  labelled: true,
  overcommitted: false,
  ...over,
});
const devices = new Map([1, 2].map((id) => [id, device(id, id * 100_000)]));
const run = (deviceId: number, firstExtent: number, count: number, clean = false): Run => ({ deviceId, firstExtent: extents(firstExtent), count: extents(count), clean });
const extentsOf = (runs: readonly Run[]): string[] => runs.flatMap((each) => Array.from({ length: each.count }, (_, index) => `${each.deviceId}:${each.firstExtent + index}${each.clean ? 'c' : ''}`));

test('F1 F2: extentList() keeps the order of the disk and counts each from the start of its own partition', () => {
  assert.deepEqual(extentList(bytes(3 * MIB), [run(2, 5, 1), run(1, 0, 1), run(1, 1, 1)], devices), [
    { device: '/dev/sda', startSector: 200_000 + 6 * 2048, sectors: 2048 },
    { device: '/dev/sda', startSector: 100_000 + 2048, sectors: 4096 },
  ]);
});

test('F14: segmentsOf() is exactly as long as the disk, inside its devices, whatever the slack of the last extent', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.tuple(fc.constantFrom(1, 2), fc.nat(9)), { minLength: 1, selector: String }), fc.integer({ min: 1, max: MIB / 4096 }), (places, blocks) => {
      const runs = places.map(([id, first]) => run(id, first, 1));
      const size = bytes((runs.length - 1) * MIB + blocks * 4096);
      const { devices: used, segments } = segmentsOf(size, runs, devices);
      assert.equal(segments.reduce((sum, segment) => sum + segment.lengthBytes, 0), size);
      for (const { deviceIndex, offsetBytes, lengthBytes } of segments) assert.ok(used[deviceIndex] !== undefined && offsetBytes >= MIB && offsetBytes + lengthBytes <= 11 * MIB);
    }),
  );
});

test('segmentsOf() of runs that do not cover the disk is a bug', () => {
  assert.throws(() => segmentsOf(bytes(2 * MIB), [run(1, 0, 1)], devices), /missing/);
});

test('takeTail() splits a disk in a head that stays and a tail that goes; joinRuns() changes no extent', () => {
  const some = fc.uniqueArray(fc.nat(20), { minLength: 1 }).map((list) => list.map((first) => run(1, first * 3, 1 + (first % 3), first % 2 === 0)));
  fc.assert(
    fc.property(some, fc.integer({ min: 1, max: 40 }), (runs, count) => {
      const { kept, taken } = takeTail(runs, () => bytes(MIB), bytes(count * MIB - 1));
      assert.deepEqual([...extentsOf(kept), ...extentsOf(taken)], extentsOf(runs));
      assert.equal(extentsOf(taken).length, Math.min(count, extentsOf(runs).length));
      assert.deepEqual(extentsOf(joinRuns(runs)), extentsOf(runs));
    }),
  );
  assert.deepEqual(takeFromUnowned(run(1, 4, 5, true), bytes(MIB), bytes(MIB + 1)), run(1, 4, 2, true));
});

test('layoutDevice() keeps a MiB free at each end, or names the largest size that fits', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 200 * MIB }), fc.integer({ min: 1, max: 64 }), (size, mib) => {
      const layout = layoutDevice({ sizeBytes: bytes(size), physicalBlockBytes: 4096 }, bytes(mib * MIB));
      if (layout.kind === 'laid-out') assert.ok(layout.dataStartBytes >= MIB && layout.dataStartBytes + layout.extentCount * mib * MIB <= size - MIB && layout.extentCount > 0);
      else if (layout.largestExtentBytes !== null) assert.equal(layoutDevice({ sizeBytes: bytes(size), physicalBlockBytes: 4096 }, layout.largestExtentBytes).kind, 'laid-out');
    }),
  );
  for (const size of [0, 1000, 4095, 65_536 + 1, 2 ** 50]) assert.throws(() => layoutDevice({ sizeBytes: bytes(2 ** 40), physicalBlockBytes: 512 }, bytes(size)), XvdError);
});

test('checkCatalog() finds an extent of two owners, of none, and outside of its device', () => {
  const rows = { devices: [device(1, 0)], bad: [], disks: [], vbds: [], now: 0 as never };
  const codes = (owned: readonly Run[], unowned: readonly Run[]): string[] => checkCatalog({ ...rows, owned: owned.map((each) => ({ ...each, diskId: 1, position: 0 })), unowned }).map((problem) => problem.code).filter((code) => code !== 'RUN_WITHOUT_DISK');
  assert.deepEqual(codes([], [run(1, 0, 10)]), []);
  assert.deepEqual(codes([run(1, 0, 2)], [run(1, 1, 9)]), ['EXTENT_OWNED_TWICE']);
  assert.deepEqual(codes([], [run(1, 0, 9)]), ['EXTENT_LOST']);
  assert.deepEqual(codes([], [run(1, 0, 11)]), ['RUN_OUTSIDE_DEVICE']);
  assert.deepEqual(codes([run(7, 0, 1)], [run(1, 0, 10)]), ['RUN_WITHOUT_DEVICE']);
});
