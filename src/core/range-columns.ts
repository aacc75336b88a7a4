// Overlaps among very many ranges, given as columns, in O((n + m) log (n + m)): plain numbers in typed arrays, so that sorting
// them is all that a check of a million ranges costs.

import { invariant } from '../base/invariant.ts';

/** Row i is the range [startSector[i], startSector[i] + sectors[i]) in the space of that number. Empty ranges overlap nothing. */
export type RangeColumns = { readonly space: Uint32Array; readonly startSector: Float64Array; readonly sectors: Float64Array };

/** 1 for every old range that shares a sector with any new one of its space: equal, partial, inside or around (F3). */
export function overlapsColumns(news: RangeColumns, olds: RangeColumns): Uint8Array {
  const edges = edgesBySpace(news);
  const found = new Uint8Array(columnLength(olds));
  for (let row = 0; row < found.length; row += 1) {
    const space = edges.get(olds.space[row] ?? 0);
    const start = olds.startSector[row] ?? 0;
    const end = start + (olds.sectors[row] ?? 0);
    if (space === undefined || end === start) continue;
    // So many begin before this one ends. It overlaps none of them only if as many have ended by its start, so the last of that
    // many ends in order tells: starts and ends need not be paired.
    const begun = countBelow(space.starts, end);
    if (begun > 0 && (space.ends[begun - 1] ?? 0) > start) found[row] = 1;
  }
  return found;
}

type Edges = { readonly starts: Float64Array; readonly ends: Float64Array };

/** All starts and all ends of the ranges of a space, each sorted by itself. */
function edgesBySpace(ranges: RangeColumns): ReadonlyMap<number, Edges> {
  const counts = new Map<number, number>();
  const rows = columnLength(ranges);
  for (let row = 0; row < rows; row += 1) {
    const space = ranges.space[row] ?? 0;
    if ((ranges.sectors[row] ?? 0) > 0) counts.set(space, (counts.get(space) ?? 0) + 1);
  }
  const spaces = new Map([...counts].map(([space, count]) => [space, { starts: new Float64Array(count), ends: new Float64Array(count), filled: 0 }]));
  for (let row = 0; row < rows; row += 1) {
    const length = ranges.sectors[row] ?? 0;
    const edges = spaces.get(ranges.space[row] ?? 0);
    if (edges === undefined || length <= 0) continue;
    edges.starts[edges.filled] = ranges.startSector[row] ?? 0;
    edges.ends[edges.filled] = (ranges.startSector[row] ?? 0) + length;
    edges.filled += 1;
  }
  for (const { starts, ends } of spaces.values()) {
    starts.sort();
    ends.sort();
  }
  return spaces;
}

function columnLength({ space, startSector, sectors }: RangeColumns): number {
  invariant(space.length === startSector.length && space.length === sectors.length, 'the columns of ranges are equally long');
  return space.length;
}

/** How many of the ascending values are below the key. */
function countBelow(values: Float64Array, key: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((values[middle] ?? 0) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
