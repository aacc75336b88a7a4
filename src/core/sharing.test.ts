import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { sectors } from '../base/units.ts';
import { checkSharing } from './sharing.ts';
import type { SectorRange, SectorUser, VbdMode } from './types.ts';

const range = (startSector: number, count: number, space = 'drive:8:0'): SectorRange => ({ space, startSector: sectors(startSector), sectors: sectors(count) });
const user = (mode: VbdMode, own: readonly SectorRange[], more: Partial<SectorUser> = {}): SectorUser => ({ kind: 'vbd', name: 'vd:1', mode, footprint: { own, below: [] }, ...more });

test('checkSharing(): two readers 0, a writer with a reader 1 whichever is new, two writers 2', () => {
  const level = (mode: VbdMode, old: VbdMode): number => checkSharing(user(mode, [range(0, 8)]), [user(old, [range(0, 8)])]).level;
  assert.deepEqual([level('r', 'r'), level('r', 'w'), level('w', 'r'), level('w', 'w')], [0, 1, 1, 2]);
});

test('F3: every overlap counts: equal, partial, inside, around; neighbours and other drives do not', () => {
  const meets = (start: number, count: number, space?: string): boolean => checkSharing(user('w', [range(100, 100)]), [user('w', [range(start, count, space)])]).level === 2;
  for (const [start, count] of [[100, 100], [50, 51], [199, 50], [140, 10], [100, 1], [199, 1], [0, 1000]] as const) assert.equal(meets(start, count), true, `${start} ${count}`);
  for (const [start, count] of [[0, 100], [200, 8], [150, 0]] as const) assert.equal(meets(start, count), false, `${start} ${count}`);
  assert.equal(meets(100, 100, 'drive:8:16'), false);
});

test('F3: checkSharing() finds what comparing every pair finds', () => {
  const ranges = fc.array(fc.record({ start: fc.nat(40), count: fc.nat(12), space: fc.constantFrom('a', 'b') }).map(({ start, count, space }) => range(start, count, space)), { maxLength: 6 });
  const users = fc.array(fc.record({ mode: fc.constantFrom<VbdMode>('r', 'w'), own: ranges }).map(({ mode, own }) => user(mode, own)), { maxLength: 5 });
  const overlap = (a: SectorRange, b: SectorRange): boolean => a.space === b.space && Math.max(a.startSector, b.startSector) < Math.min(a.startSector + a.sectors, b.startSector + b.sectors);
  fc.assert(
    fc.property(fc.constantFrom<VbdMode>('r', 'w'), ranges, users, (mode, own, others) => {
      const meeting = others.filter((other) => other.footprint.own.some((old) => own.some((mine) => overlap(mine, old))));
      const serious = meeting.filter((other) => mode === 'w' || other.mode === 'w');
      const level = serious.length === 0 ? 0 : mode === 'w' && serious.some((other) => other.mode === 'w') ? 2 : 1;
      const verdict = checkSharing(user(mode, own), others);
      assert.equal(verdict.level, level);
      assert.deepEqual(verdict.conflicts.map((conflict) => conflict.user), serious);
    }),
  );
});

test('what stands below meets what others own, not what others stand on', () => {
  const file = (inode: string): SectorUser => user('w', [], { footprint: { own: [range(0, 8, `file:${inode}`)], below: [range(0, 1000)] } });
  assert.equal(checkSharing(file('1'), [file('2')]).level, 0);
  assert.equal(checkSharing(file('1'), [file('1')]).level, 2);
  assert.equal(checkSharing(file('1'), [user('w', [range(500, 8)])]).level, 2);
  assert.equal(checkSharing(user('r', [range(500, 8)]), [file('1')]).level, 1);
});

test('a mount does not clash with a file on it, whichever is new', () => {
  const mount = user('w', [range(0, 1000)], { kind: 'mount', carries: 'fs:8:0' });
  const file = user('w', [], { footprint: { own: [range(0, 8, 'file:1')], below: [range(0, 1000)], via: ['fs:8:0'] } });
  assert.equal(checkSharing(file, [mount]).level, 0);
  assert.equal(checkSharing(mount, [file]).level, 0);
});
