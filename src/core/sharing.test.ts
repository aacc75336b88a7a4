import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { sectors } from '../base/units.ts';
import { checkSharing } from './sharing.ts';
import type { ExpertLevel, Footprint, SectorRange, SectorUser, UserKind, VbdMode } from './types.ts';

const range = (space: string, start: number, count: number): SectorRange => ({ space, startSector: sectors(start), sectors: sectors(count) });
const drive = (start: number, count: number): SectorRange => range('drive:8:0', start, count);
const footprint = (own: readonly SectorRange[], below: readonly SectorRange[] = [], via: readonly string[] = []): Footprint => ({ own, below, via });
const user = (mode: VbdMode, place: Footprint, kind: UserKind = 'vbd', carries?: string): SectorUser => ({
  kind,
  name: `${kind} ${mode}`,
  mode,
  footprint: place,
  ...(carries === undefined ? {} : { carries }),
});

test('checkSharing() has the level of the table for each pair of modes', () => {
  const table: readonly (readonly [VbdMode, VbdMode, ExpertLevel])[] = [
    ['r', 'r', 0],
    ['r', 'w', 1],
    ['w', 'r', 1],
    ['w', 'w', 2],
  ];
  for (const [mine, theirs, level] of table) {
    const other = user(theirs, footprint([drive(0, 100)]));
    const verdict = checkSharing(user(mine, footprint([drive(50, 100)])), [other]);
    assert.equal(verdict.level, level, `${mine} beside ${theirs}`);
    assert.deepEqual(verdict.conflicts, level === 0 ? [] : [{ user: other, range: drive(0, 100) }]);
  }
});

test('every overlap counts: equal, partial on either side, inside and around (F3); touching is none', () => {
  const use = user('w', footprint([drive(100, 50)]));
  for (const [start, count, level] of [
    [100, 50, 2],
    [90, 20, 2],
    [140, 20, 2],
    [110, 1, 2],
    [0, 1000, 2],
    [50, 50, 0],
    [150, 1, 0],
    [120, 0, 0],
  ] as const) {
    assert.equal(checkSharing(use, [user('w', footprint([drive(start, count)]))]).level, level, `${start}+${count}`);
  }
});

// What stands where: drive 8:0 of 1000 sectors, a partition of it from 100, and on that a filesystem with a file.
const partition = drive(100, 200);
const places: Readonly<Record<string, Footprint>> = {
  disk: footprint([drive(120, 16), drive(200, 16)], [], ['drive:8:1']),
  'other disk': footprint([drive(140, 16)], [], ['drive:8:1']),
  partition: footprint([partition]),
  'whole drive': footprint([drive(0, 1000)]),
  'dm on partition': footprint([partition], [], ['drive:254:0']),
  'crypt on partition': footprint([range('drive:254:1', 0, 190)], [partition]),
  'file on partition': footprint([range('file:8:1:42', 0, 50)], [partition], ['fs:8:1']),
  'other file': footprint([range('file:8:1:43', 0, 50)], [partition], ['fs:8:1']),
  'other drive': footprint([range('drive:8:16', 0, 1000)]),
};
/** The pairs that meet, each in both directions; all others share no sector that either may change. */
const meeting = new Set(
  [
    ['disk', 'partition'],
    ['disk', 'whole drive'],
    ['disk', 'dm on partition'],
    ['disk', 'crypt on partition'],
    ['disk', 'file on partition'],
    ['disk', 'other file'],
    ['other disk', 'partition'],
    ['other disk', 'whole drive'],
    ['other disk', 'dm on partition'],
    ['other disk', 'crypt on partition'],
    ['other disk', 'file on partition'],
    ['other disk', 'other file'],
    ['partition', 'whole drive'],
    ['partition', 'dm on partition'],
    ['partition', 'crypt on partition'],
    ['partition', 'file on partition'],
    ['partition', 'other file'],
    ['whole drive', 'dm on partition'],
    ['whole drive', 'crypt on partition'],
    ['whole drive', 'file on partition'],
    ['whole drive', 'other file'],
    ['dm on partition', 'crypt on partition'],
    ['dm on partition', 'file on partition'],
    ['dm on partition', 'other file'],
  ].flatMap(([one, other]) => [`${one}/${other}`, `${other}/${one}`]),
);

test('every pair of places, in every pair of modes: what shares sectors meets, what only stands on the same does not (F6, F9)', () => {
  for (const [one, mine] of Object.entries(places)) {
    for (const [other, theirs] of Object.entries(places)) {
      const meets = one === other || meeting.has(`${one}/${other}`);
      for (const mode of ['r', 'w'] as const) {
        for (const otherMode of ['r', 'w'] as const) {
          const writers = Number(mode === 'w') + Number(otherMode === 'w');
          assert.equal(checkSharing(user(mode, mine), [user(otherMode, theirs)]).level, meets ? writers : 0, `${one} ${mode} beside ${other} ${otherMode}`);
        }
      }
    }
  }
});

test('a mount does not clash with the files on it, nor a holder with its own device, whichever is new', () => {
  const mount = user('w', footprint([partition]), 'mount', 'fs:8:1');
  const file = user('w', footprint([range('file:8:1:42', 0, 50)], [partition], ['fs:8:1']));
  assert.equal(checkSharing(file, [mount]).level, 0);
  assert.equal(checkSharing(mount, [file]).level, 0);
  assert.equal(checkSharing(user('w', footprint([partition])), [mount]).level, 2);
});

test('the level is that of the worst user; each user is named once, in order; readers beside readers are not', () => {
  const reader = user('r', footprint([drive(0, 10), drive(20, 10)]), 'mount');
  const writer = user('w', footprint([drive(5, 1)]), 'process');
  const verdict = checkSharing(user('w', footprint([drive(0, 100)])), [reader, writer]);
  assert.equal(verdict.level, 2);
  assert.deepEqual(
    verdict.conflicts.map((conflict) => [conflict.user.kind, conflict.range.startSector]),
    [
      ['mount', 0],
      ['process', 5],
    ],
  );
  assert.deepEqual(
    checkSharing(user('r', footprint([drive(0, 100)])), [reader, writer]).conflicts.map((conflict) => conflict.user),
    [writer],
  );
});

const someRanges = fc.array(
  fc.tuple(fc.constantFrom('a', 'b'), fc.nat(40), fc.nat(8)).map(([space, start, count]) => range(space, start, count)),
  { maxLength: 5 },
);
const someUser = fc
  .record({
    mode: fc.constantFrom<VbdMode>('r', 'w'),
    own: someRanges,
    below: someRanges,
    via: fc.subarray(['fs:1', 'fs:2']),
    carries: fc.constantFrom(undefined, 'fs:1', 'fs:2'),
  })
  .map(({ mode, own, below, via, carries }) => user(mode, footprint(own, below, via), 'holder', carries));

const overlap = (one: SectorRange, other: SectorRange): boolean =>
  one.sectors > 0 &&
  other.sectors > 0 &&
  one.space === other.space &&
  one.startSector < other.startSector + other.sectors &&
  other.startSector < one.startSector + one.sectors;
const anyOverlap = (some: readonly SectorRange[], others: readonly SectorRange[]): boolean => some.some((one) => others.some((other) => overlap(one, other)));

/** The semantics, pair by pair. */
function plainLevel(use: SectorUser, other: SectorUser): number {
  const through = (one: SectorUser, two: SectorUser): boolean => one.carries !== undefined && (two.footprint.via ?? []).includes(one.carries);
  if (through(use, other) || through(other, use)) return 0;
  const [mine, theirs] = [use.footprint, other.footprint];
  const meets = anyOverlap(mine.own, theirs.own) || anyOverlap(mine.own, theirs.below) || anyOverlap(mine.below, theirs.own);
  return meets ? Number(use.mode === 'w') + Number(other.mode === 'w') : 0;
}

test('checkSharing() gives what comparing every range of every pair gives', () => {
  fc.assert(
    fc.property(someUser, fc.array(someUser, { maxLength: 6 }), (use, users) => {
      const levels = users.map((other) => plainLevel(use, other));
      const verdict = checkSharing(use, users);
      assert.equal(verdict.level, Math.max(0, ...levels));
      assert.deepEqual(
        verdict.conflicts.map((conflict) => conflict.user),
        users.filter((_, index) => (levels[index] ?? 0) > 0),
      );
    }),
    { numRuns: 500 },
  );
});
