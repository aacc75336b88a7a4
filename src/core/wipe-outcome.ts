// The runs of a disk after a wipe: what was wiped whole is clean, what failed is out, the order of the rest stays.

import { extents } from '../base/units.ts';
import { joinRuns, runEnd } from './run.ts';
import type { Run } from './types.ts';

export function afterWipe(runs: readonly Run[], wiped: readonly Run[], bad: readonly Run[]): Run[] {
  return joinRuns(runs.flatMap((run) => pieces(run, wiped, bad)));
}

function pieces(run: Run, wiped: readonly Run[], bad: readonly Run[]): Run[] {
  const near = (others: readonly Run[]): Run[] =>
    others.filter((other) => other.deviceId === run.deviceId && other.firstExtent < runEnd(run) && run.firstExtent < runEnd(other));
  const [clean, gone] = [near(wiped), near(bad)];
  const edges = [run, ...clean, ...gone].flatMap((each) => [each.firstExtent, runEnd(each)]).filter((edge) => edge >= run.firstExtent && edge <= runEnd(run));
  const cuts = [...new Set(edges)].toSorted((a, b) => a - b);
  const has = (others: readonly Run[], extent: number): boolean => others.some((other) => other.firstExtent <= extent && extent < runEnd(other));
  return cuts.slice(0, -1).flatMap((first, index) => {
    if (has(gone, first)) return [];
    const count = (cuts[index + 1] ?? first) - first;
    return [{ ...run, firstExtent: extents(first), count: extents(count), clean: run.clean || has(clean, first) }];
  });
}
