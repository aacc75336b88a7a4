// The sharing check of 100,000 new ranges against 1,000,000 old ones, as columns, beside sorting the same 1,100,000 start sectors
// in a typed array, alternated. The limit is 10 times, median against median; with ten times the ranges it may grow twice as much as the sort does.

import { overlapsColumns, type RangeColumns } from '../src/core/range-columns.ts';
import { median, publish } from './report.ts';

const rounds = 7;
const limit = 10;

/** A fixed sequence, so that every run checks the same ranges. */
function sequence(): (below: number) => number {
  let state = 20_040_101;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function ranges(count: number, next: (below: number) => number): RangeColumns {
  const columns = { space: new Uint32Array(count), startSector: new Float64Array(count), sectors: new Float64Array(count) };
  for (let row = 0; row < count; row += 1) {
    columns.space[row] = next(8);
    columns.startSector[row] = next(2 ** 31) * 8;
    columns.sectors[row] = 1 + next(1024);
  }
  return columns;
}

function measure(newCount: number, oldCount: number): { readonly checkMs: number; readonly sortMs: number; readonly overlaps: number } {
  const next = sequence();
  const [news, olds] = [ranges(newCount, next), ranges(oldCount, next)];
  const checks: number[] = [];
  const sorts: number[] = [];
  let overlaps = 0;
  for (let round = 0; round < rounds; round += 1) {
    const starts = new Float64Array(newCount + oldCount);
    starts.set(news.startSector);
    starts.set(olds.startSector, newCount);
    const before = performance.now();
    starts.sort();
    const between = performance.now();
    const found = overlapsColumns(news, olds);
    checks.push(performance.now() - between);
    sorts.push(between - before);
    overlaps = found.reduce((sum, one) => sum + one, 0);
  }
  return { checkMs: median(checks), sortMs: median(sorts), overlaps };
}

const small = measure(10_000, 100_000);
const large = measure(100_000, 1_000_000);
publish({
  name: 'sharing',
  title: 'The sharing check',
  about: `New ranges of sectors against old ones, as columns, in turn with sorting as many start sectors in a typed array: medians of ${rounds} rounds.`,
  tables: [
    {
      columns: ['new against old', 'check ms', 'sort ms', 'overlaps'],
      rows: [
        ['10,000 against 100,000', small.checkMs, small.sortMs, small.overlaps],
        ['100,000 against 1,000,000', large.checkMs, large.sortMs, large.overlaps],
      ],
    },
  ],
  goals: [
    { name: 'check / sort, 100,000 against 1,000,000', value: large.checkMs / large.sortMs, atMost: limit },
    {
      name: 'for 10 times the ranges: growth of the check / growth of the sort',
      value: large.checkMs / small.checkMs / (large.sortMs / small.sortMs),
      atMost: 2,
    },
  ],
});
