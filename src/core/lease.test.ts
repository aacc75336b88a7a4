import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { bytes, wallMs } from '../base/units.ts';
import { diskState, isLiving } from './lease.ts';

const disk = (expiresAt: number | null, lostBytes = 0, preparing = false) => ({
  expiresAt: expiresAt === null ? null : wallMs(expiresAt),
  lostBytes: bytes(lostBytes),
  preparing,
});

test('a disk is living while now < expiresAt, and expired from that very instant on (F16)', () => {
  assert.equal(diskState(disk(1000), wallMs(999)), 'live');
  assert.equal(diskState(disk(1000), wallMs(1000)), 'expired');
  assert.equal(diskState(disk(1000), wallMs(1001)), 'expired');
});

test('a disk that never expires is living at every instant, also of a broken clock', () => {
  for (const now of [-1e12, 0, Number.MAX_SAFE_INTEGER]) assert.equal(diskState(disk(null), wallMs(now)), 'live');
});

test('diskState() tells preparing and reclaimed', () => {
  assert.equal(diskState(disk(null, 0, true), wallMs(0)), 'preparing');
  assert.equal(diskState(disk(10, 4096), wallMs(10)), 'reclaimed');
  assert.equal(diskState(disk(10, 0, true), wallMs(10)), 'expired');
});

test('at every instant exactly one of living and over, and once over always over', () => {
  fc.assert(
    fc.property(fc.nat(1000), fc.nat(1000), fc.nat(1000), fc.nat(1), fc.boolean(), (expiresAt, one, later, lost, preparing) => {
      const some = disk(expiresAt, lost, preparing);
      const over = (now: number): boolean => ['expired', 'reclaimed'].includes(diskState(some, wallMs(now)));
      assert.equal(over(one), !isLiving(some, wallMs(one)));
      if (over(one)) assert.ok(over(one + later));
    }),
  );
});
