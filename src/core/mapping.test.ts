import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { InvariantError } from '../base/invariant.ts';
import { bytes, extents, sectors } from '../base/units.ts';
import { extentList, segmentsOf } from './mapping.ts';
import type { PoolDevice, Run } from './types.ts';

const EXTENT = 8192;

function device(id: number, drivePath: string, driveStartSector: number, dataStart = 4096): PoolDevice {
  const path = `/dev/part${id}`;
  return {
    id,
    uuid: `uuid-${id}`,
    pool: 'default',
    path,
    kind: 'block',
    identity: { kind: 'path', path },
    drivePath,
    driveStartSector: sectors(driveStartSector),
    sizeBytes: bytes(1000 * EXTENT),
    blockBytes: 512,
    extentBytes: bytes(EXTENT * id),
    dataStartBytes: bytes(dataStart),
    extentCount: extents(100),
    labelled: true,
    overcommitted: false,
  };
}

const run = (deviceId: number, firstExtent: number, count: number): Run => ({
  deviceId,
  firstExtent: extents(firstExtent),
  count: extents(count),
  clean: false,
});
const devices = new Map([device(1, '/dev/sda', 2048), device(2, '/dev/sda', 999_424), device(3, '/srv/pool.img', 0)].map((one) => [one.id, one]));

test('segmentsOf() keeps the order of the disk and joins neighbours (F1)', () => {
  const { devices: used, segments } = segmentsOf(bytes(6 * EXTENT), [run(2, 5, 1), run(1, 0, 2), run(1, 2, 2)], devices);
  assert.deepEqual(
    used.map(({ id }) => id),
    [2, 1],
  );
  assert.deepEqual(segments, [
    { deviceIndex: 0, offsetBytes: 4096 + 10 * EXTENT, lengthBytes: 2 * EXTENT },
    { deviceIndex: 1, offsetBytes: 4096, lengthBytes: 4 * EXTENT },
  ]);
});

test('segmentsOf() is as long as the disk, not as its extents (F14)', () => {
  assert.deepEqual(segmentsOf(bytes(EXTENT + 4096), [run(1, 3, 2)], devices).segments, [
    { deviceIndex: 0, offsetBytes: 4096 + 3 * EXTENT, lengthBytes: EXTENT + 4096 },
  ]);
  assert.deepEqual(segmentsOf(bytes(4096), [run(1, 3, 2), run(2, 0, 1)], devices).segments.length, 1);
});

test('extentList() counts from the start of the drive, so that two partitions of one drive are two places (F2)', () => {
  assert.deepEqual(extentList(bytes(EXTENT + 4096), [run(1, 0, 1), run(2, 0, 1)], devices), [
    { device: '/dev/sda', startSector: 2048 + 8, sectors: 16 },
    { device: '/dev/sda', startSector: 999_424 + 8, sectors: 8 },
  ]);
  assert.deepEqual(extentList(bytes(EXTENT), [run(3, 1, 1)], devices), [{ device: '/srv/pool.img', startSector: 8 + 48, sectors: 16 }]);
});

test('runs that do not cover the disk, or lie on no device of the catalog, are a bug', () => {
  assert.throws(() => segmentsOf(bytes(2 * EXTENT), [run(1, 0, 1)], devices), InvariantError);
  assert.throws(() => segmentsOf(bytes(EXTENT), [run(9, 0, 1)], devices), InvariantError);
});

const runs = fc.array(
  fc.tuple(fc.integer({ min: 1, max: 3 }), fc.nat(90), fc.integer({ min: 1, max: 4 })).map((parts) => run(...parts)),
  { minLength: 1, maxLength: 8 },
);

test('every block of the disk is where walking its extents one by one finds it, on the device and on the drive', () => {
  fc.assert(
    fc.property(runs, fc.nat(), (list, cut) => {
      const places = list.flatMap(({ deviceId, firstExtent, count }) =>
        Array.from({ length: count * deviceId * 2 }, (_, block) => ({ deviceId, offset: 4096 + firstExtent * EXTENT * deviceId + block * 4096 })),
      );
      const blocks = 1 + (cut % places.length);
      const expected = places.slice(0, blocks);
      const { devices: used, segments } = segmentsOf(bytes(blocks * 4096), list, devices);
      const found = segments.flatMap(({ deviceIndex, offsetBytes, lengthBytes }) =>
        Array.from({ length: lengthBytes / 4096 }, (_, block) => ({ deviceId: used[deviceIndex]?.id, offset: offsetBytes + block * 4096 })),
      );
      assert.deepEqual(found, expected);

      const onDrives = extentList(bytes(blocks * 4096), list, devices).flatMap((place) =>
        Array.from({ length: place.sectors / 8 }, (_, block) => `${place.device}:${place.startSector + block * 8}`),
      );
      const drivePlace = ({ deviceId, offset }: (typeof expected)[number]): string =>
        `${devices.get(deviceId)?.drivePath}:${(devices.get(deviceId)?.driveStartSector ?? 0) + offset / 512}`;
      assert.deepEqual(onDrives, expected.map(drivePlace));
    }),
  );
});
