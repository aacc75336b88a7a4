import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { InvariantError } from '../base/invariant.ts';
import { overlapsColumns, type RangeColumns } from './range-columns.ts';

type Row = { readonly space: number; readonly start: number; readonly length: number };

const columns = (rows: readonly Row[]): RangeColumns => ({
  space: Uint32Array.from(rows, ({ space }) => space),
  startSector: Float64Array.from(rows, ({ start }) => start),
  sectors: Float64Array.from(rows, ({ length }) => length),
});

const overlap = (one: Row, other: Row): boolean =>
  one.length > 0 && other.length > 0 && one.space === other.space && one.start < other.start + other.length && other.start < one.start + one.length;

test('overlapsColumns() finds what comparing every pair finds, also among new ranges that overlap each other', () => {
  const rows = fc.array(fc.record({ space: fc.nat(2), start: fc.nat(60), length: fc.nat(12) }), { maxLength: 20 });
  fc.assert(
    fc.property(rows, rows, (news, olds) => {
      const expected = olds.map((old) => (news.some((one) => overlap(one, old)) ? 1 : 0));
      assert.deepEqual([...overlapsColumns(columns(news), columns(olds))], expected);
    }),
    { numRuns: 1000 },
  );
});

test('overlapsColumns() sees an old range inside, around, equal and partial, not one that only touches (F3)', () => {
  const one = [{ space: 0, start: 100, length: 50 }];
  const olds = [
    { space: 0, start: 110, length: 10 },
    { space: 0, start: 0, length: 1000 },
    { space: 0, start: 100, length: 50 },
    { space: 0, start: 149, length: 9 },
    { space: 0, start: 150, length: 9 },
    { space: 0, start: 91, length: 9 },
    { space: 1, start: 100, length: 50 },
  ];
  assert.deepEqual([...overlapsColumns(columns(one), columns(olds))], [1, 1, 1, 1, 0, 0, 0]);
});

test('overlapsColumns() takes sectors far beyond 32 bits', () => {
  const far = 2 ** 44;
  assert.deepEqual(
    [
      ...overlapsColumns(
        columns([{ space: 0, start: far, length: 2 }]),
        columns([
          { space: 0, start: far + 1, length: 1 },
          { space: 0, start: far + 2, length: 1 },
        ]),
      ),
    ],
    [1, 0],
  );
});

test('columns of unequal length are a bug', () => {
  assert.throws(
    () => overlapsColumns({ space: new Uint32Array(1), startSector: new Float64Array(2), sectors: new Float64Array(2) }, columns([])),
    InvariantError,
  );
});
