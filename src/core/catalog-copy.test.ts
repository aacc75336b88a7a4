import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { bytes, extents, MIB, sectors, wallMs } from '../base/units.ts';
import { decodeCopy, encodeCopy, joinParts, partOf, type CatalogCopy, type CopyDisk } from './catalog-copy.ts';
import type { PoolDevice } from './types.ts';

const device = (id: number): PoolDevice => ({
  id,
  uuid: `uuid-${id}`,
  pool: 'default',
  path: `/dev/sda${id}`,
  kind: 'block',
  identity: { kind: 'label', deviceUuid: `uuid-${id}` },
  drivePath: '/dev/sda',
  driveStartSector: sectors(2048 * id),
  sizeBytes: bytes(102 * MIB),
  blockBytes: 4096,
  extentBytes: bytes(MIB),
  dataStartBytes: bytes(MIB),
  extentCount: extents(100),
  labelled: true,
  overcommitted: false,
});

const run = fc.record(
  {
    deviceId: fc.constantFrom(1, 2),
    firstExtent: fc.nat(99).map(extents),
    count: fc.integer({ min: 1, max: 9 }).map(extents),
    clean: fc.boolean(),
  },
  { noNullPrototype: true },
);
const disk = (id: number): fc.Arbitrary<CopyDisk> =>
  fc
    .record({
      runs: fc.array(run, { minLength: 1, maxLength: 4 }),
      name: fc.option(fc.constant(`disk${id}`)),
      expiresAt: fc.option(fc.nat().map(wallMs)),
      note: fc.string(),
    })
    .map(({ runs, name, expiresAt, note }) => ({
      disk: {
        id,
        name,
        pool: 'default',
        sizeBytes: bytes(id * MIB),
        blockBytes: 512,
        createdAt: wallMs(-5),
        expiresAt,
        onExpiry: 'revoke',
        labels: { note },
        preparing: false,
        suspect: false,
        lostBytes: bytes(0),
      },
      runs: runs.map((one, position) => ({ ...one, position })),
    }));

const copies: fc.Arbitrary<CatalogCopy> = fc
  .record({ commitNumber: fc.nat(), disks: fc.tuple(disk(1), disk(2), disk(3)), bad: fc.array(run, { maxLength: 2 }) })
  .map(({ commitNumber, disks, bad }) => ({
    catalogId: 'catalog',
    commitNumber,
    highest: { disk: 3, generation: 7, event: 11 },
    part: null,
    devices: [device(1), device(2)],
    disks,
    bad: bad.toSorted((a, b) => a.deviceId - b.deviceId),
  }));

test('decodeCopy() gives back what encodeCopy() was given', () => {
  fc.assert(fc.property(copies, (copy) => assert.deepEqual(decodeCopy(encodeCopy(copy)), copy)));
});

test('the parts of all devices together are the whole', () => {
  fc.assert(
    fc.property(copies, (copy) => {
      const joined = joinParts([partOf(copy, 2), partOf(copy, 1)]);
      const sorted = (list: readonly CopyDisk[]): CopyDisk[] => list.toSorted((a, b) => a.disk.id - b.disk.id);
      assert.deepEqual(sorted(joined?.disks ?? []), copy.disks);
      assert.deepEqual(
        joined?.bad.toSorted((a, b) => a.deviceId - b.deviceId),
        copy.bad,
      );
    }),
  );
  assert.equal(joinParts([]), null);
});

test('of an older part the rows are older: the newer one counts, and numbers never fall', () => {
  const [copy] = fc.sample(copies, { numRuns: 1, seed: 5 });
  assert.ok(copy);
  const [first] = copy.disks;
  assert.ok(first);
  const older = { ...copy, commitNumber: 1, highest: { disk: 9, generation: 1, event: 1 }, disks: [{ ...first, disk: { ...first.disk, name: 'old' } }] };
  const newer = { ...copy, commitNumber: 2, disks: [{ ...first, disk: { ...first.disk, name: 'new' } }] };
  for (const parts of [
    [older, newer],
    [newer, older],
  ]) {
    const joined = joinParts(parts);
    assert.equal(joined?.disks[0]?.disk.name, 'new');
    assert.deepEqual(joined?.highest, { disk: 9, generation: 7, event: 11 });
  }
});

test('what a disk gives back is read or refused, whatever its bytes: decodeCopy() never throws', () => {
  assert.equal(decodeCopy(new Uint8Array()), null);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (data) => assert.equal(decodeCopy(data), null)));
  fc.assert(
    fc.property(copies, fc.nat(), fc.nat(255), (copy, at, byte) => {
      const data = encodeCopy(copy);
      data[at % data.length] = byte;
      const read = decodeCopy(data);
      if (read !== null) assert.deepEqual(decodeCopy(encodeCopy(read)), read);
    }),
  );
});
