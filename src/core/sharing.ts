// The sharing check: which users of sectors a new use would meet, and how unsafe that is (readers 0, a writer with a
// reader 1, two writers 2). Every overlap counts: equal, partial, inside, around (F3).

import type { ExpertLevel, SectorRange, SectorUser } from './types.ts';

export type Conflict = { readonly user: SectorUser; readonly range: SectorRange };
export type SharingVerdict = { readonly level: ExpertLevel; readonly conflicts: readonly Conflict[] };

type Side = 'own' | 'below';
type Old = { readonly range: SectorRange; readonly user: SectorUser };

/** The first overlapping range of every user that conflicts (levels 1 and 2), in the order of the users. */
export function checkSharing(use: SectorUser, users: readonly SectorUser[]): SharingVerdict {
  const serious = users.filter((user) => (use.mode === 'w' || user.mode === 'w') && !carriedBy(use, user));
  const met = new Map<SectorUser, SectorRange>();
  // What stands below is compared with what others own, never with what others stand on.
  for (const [mine, theirs] of [['own', 'own'], ['own', 'below'], ['below', 'own']] as const) sweep(use.footprint[mine], collect(serious, theirs), met);
  const conflicts = serious.flatMap((user) => {
    const range = met.get(user);
    return range === undefined ? [] : [{ user, range }];
  });
  const twoWriters = use.mode === 'w' && conflicts.some(({ user }) => user.mode === 'w');
  return { level: conflicts.length === 0 ? 0 : twoWriters ? 2 : 1, conflicts };
}

/** A mount does not clash with the files on it, nor a holder with its own device, whichever of the two is new. */
function carriedBy(use: SectorUser, user: SectorUser): boolean {
  const carries = (one: SectorUser, other: SectorUser): boolean => one.carries !== undefined && (other.footprint.via?.includes(one.carries) ?? false);
  return carries(user, use) || carries(use, user);
}

function collect(users: readonly SectorUser[], side: Side): Old[] {
  return users.flatMap((user) => user.footprint[side].map((range) => ({ range, user })));
}

const end = (range: SectorRange): number => range.startSector + range.sectors;

/** Sort and sweep: the new ranges of a space are joined into disjoint ones, so that each old one needs one binary search. */
function sweep(news: readonly SectorRange[], olds: readonly Old[], met: Map<SectorUser, SectorRange>): void {
  if (news.length === 0 || olds.length === 0) return;
  const spaces = new Map<string, { starts: number[]; ends: number[] }>();
  for (const range of news.toSorted((a, b) => a.startSector - b.startSector)) {
    if (range.sectors === 0) continue;
    const space = spaces.get(range.space) ?? { starts: [], ends: [] };
    spaces.set(range.space, space);
    const last = space.ends.length - 1;
    const lastEnd = space.ends[last];
    if (lastEnd !== undefined && range.startSector <= lastEnd) space.ends[last] = Math.max(lastEnd, end(range));
    else {
      space.starts.push(range.startSector);
      space.ends.push(end(range));
    }
  }
  for (const { range, user } of olds) {
    const space = spaces.get(range.space);
    if (space === undefined || range.sectors === 0 || met.has(user)) continue;
    // The last new range that starts before this one ends is the only one that can reach furthest into it.
    const at = lowerBound(space.starts, end(range)) - 1;
    if (at >= 0 && (space.ends[at] ?? 0) > range.startSector) met.set(user, range);
  }
}

/** Index of the first value that is not below the key. */
function lowerBound(values: readonly number[], key: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((values[middle] ?? 0) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
