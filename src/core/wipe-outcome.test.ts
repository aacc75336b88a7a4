import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { extents } from '../base/units.ts';
import type { Run } from './types.ts';
import { afterWipe } from './wipe-outcome.ts';

const run = (firstExtent: number, count: number, clean = false): Run => ({ deviceId: 1, firstExtent: extents(firstExtent), count: extents(count), clean });
const listed = (runs: readonly Run[]): string[] =>
  runs.flatMap((each) => Array.from({ length: each.count }, (_, index) => `${each.firstExtent + index}${each.clean ? 'c' : ''}`));

test('afterWipe() marks what was wiped, drops what failed, keeps the order', () => {
  assert.deepEqual(afterWipe([run(10, 4), run(0, 3)], [run(10, 1), run(12, 2), run(0, 2)], [run(11, 1)]), [
    run(10, 1, true),
    run(12, 2, true),
    run(0, 2, true),
    run(2, 1),
  ]);
});

test('afterWipe(), extent by extent', () => {
  const some = fc.array(
    fc.record({ first: fc.nat({ max: 30 }), count: fc.integer({ min: 1, max: 5 }) }).map(({ first, count }) => run(first, count)),
    { maxLength: 5 },
  );
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat({ max: 9 }), { maxLength: 5 }), some, some, (starts, wiped, bad) => {
      const runs = starts.map((start) => run(start * 3, 3));
      const has = (list: readonly Run[], extent: number): boolean => list.some((each) => each.firstExtent <= extent && extent < each.firstExtent + each.count);
      const expected = listed(runs)
        .filter((extent) => !has(bad, Number(extent)))
        .map((extent) => `${extent}${has(wiped, Number(extent)) ? 'c' : ''}`);
      assert.deepEqual(listed(afterWipe(runs, wiped, bad)), expected);
    }),
  );
});
