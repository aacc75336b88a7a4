// What comes back of a disk, held against a plain model, extent by extent.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { bytes, extents, wallMs } from '../base/units.ts';
import { recoverDisks } from './recovery.ts';
import type { PastDisk } from './recovery.ts';
import type { Disk, PoolDevice, Run } from './types.ts';

const run = (firstExtent: number, count: number): Run => ({ deviceId: 1, firstExtent: extents(firstExtent), count: extents(count), clean: true });
const device = { id: 1, extentBytes: bytes(4096), extentCount: extents(20) } as PoolDevice;
const devices = new Map([[1, device]]);
const nowMs = wallMs(1000);
const disk = (id: number, count: number, over: Partial<Disk> = {}): Disk =>
  ({ id, sizeBytes: bytes(count * 4096), expiresAt: null, preparing: false, suspect: false, lostBytes: bytes(0), ...over }) as Disk;
const past = (id: number, runs: readonly Run[], over: Partial<Disk> = {}): PastDisk => ({
  disk: disk(
    id,
    runs.reduce((sum, each) => sum + each.count, 0),
    over,
  ),
  runs,
});
const since = { claims: [], bad: [], devices, nowMs, suspect: false };

test('a disk that nobody else has had comes back whole, dirty, with its neighbours joined', () => {
  const [back] = recoverDisks([past(1, [run(4, 2), run(6, 1), run(0, 1)])], { ...since, claims: [{ diskId: 1, runs: [run(4, 2)] }] });
  assert.deepEqual(back?.runs, [
    { ...run(4, 3), clean: false },
    { ...run(0, 1), clean: false },
  ]);
  assert.deepEqual(back.disk, disk(1, 4));
});

test('one whose extents were given away since comes back reclaimed, its lease over', () => {
  const [back] = recoverDisks([past(1, [run(0, 4)])], { ...since, claims: [{ diskId: 2, runs: [run(1, 2)] }] });
  assert.deepEqual(
    back?.runs.map((each) => [each.firstExtent, each.count]),
    [
      [0, 1],
      [3, 1],
    ],
  );
  assert.deepEqual([back.disk.lostBytes, back.disk.expiresAt], [8192, 1000]);
  const [expired] = recoverDisks([past(1, [run(0, 4)], { expiresAt: wallMs(5) })], { ...since, bad: [run(3, 9)] });
  assert.deepEqual([expired?.disk.lostBytes, expired?.disk.expiresAt], [4096, 5]);
});

test('when not all is known, it is suspect', () => {
  assert.equal(recoverDisks([past(1, [run(0, 1)])], { ...since, suspect: true })[0]?.disk.suspect, true);
});

test('extent by extent: kept is what lies inside the device, is not bad, and was nobody else’s', () => {
  const runs = fc.array(
    fc.record({ first: fc.nat({ max: 22 }), count: fc.integer({ min: 1, max: 6 }) }).map(({ first, count }) => run(first, count)),
    { maxLength: 4 },
  );
  const owned = fc.array(fc.record({ diskId: fc.integer({ min: 1, max: 3 }), runs }), { maxLength: 6 });
  fc.assert(
    fc.property(owned, runs, runs, runs, (claims, bad, one, two) => {
      const apart = one.filter(
        (a, index) => !one.slice(0, index).some((b) => a.firstExtent < b.firstExtent + b.count && b.firstExtent < a.firstExtent + a.count),
      );
      const has = (list: readonly Run[], extent: number): boolean => list.some((each) => each.firstExtent <= extent && extent < each.firstExtent + each.count);
      const [back] = recoverDisks([past(1, apart), past(2, two)], { ...since, claims, bad });
      for (let extent = 0; extent < 30; extent += 1) {
        const others = claims.some((claim) => claim.diskId !== 1 && has(claim.runs, extent)) || has(two, extent);
        assert.equal(has(back?.runs ?? [], extent), has(apart, extent) && !others && !has(bad, extent) && extent < 20, `extent ${extent}`);
      }
      const kept = back?.runs.reduce((sum, each) => sum + each.count, 0) ?? 0;
      assert.equal(back?.disk.lostBytes, (back?.disk.sizeBytes ?? 0) - kept * 4096);
    }),
  );
});
