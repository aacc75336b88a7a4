// The sharing check: which users of sectors a new use would meet, and how unsafe that is (readers 0, a writer with a
// reader 1, two writers 2). Every overlap counts: equal, partial, inside, around (F3).

import { overlapsColumns } from './range-columns.ts';
import type { RangeColumns } from './range-columns.ts';
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
  for (const [mine, theirs] of [
    ['own', 'own'],
    ['own', 'below'],
    ['below', 'own'],
  ] as const)
    meet(use.footprint[mine], collect(serious, theirs), met);
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

/** Notes the first range of every user that overlaps a new one. */
function meet(news: readonly SectorRange[], olds: readonly Old[], met: Map<SectorUser, SectorRange>): void {
  if (news.length === 0 || olds.length === 0) return;
  const numbers = new Map<string, number>();
  const found = overlapsColumns(
    columns(news, numbers),
    columns(
      olds.map(({ range }) => range),
      numbers,
    ),
  );
  olds.forEach(({ range, user }, index) => {
    if (found[index] === 1 && !met.has(user)) met.set(user, range);
  });
}

/** Spaces get numbers as they are met. */
function columns(ranges: readonly SectorRange[], numbers: Map<string, number>): RangeColumns {
  const numberOf = (space: string): number => {
    const number = numbers.get(space) ?? numbers.size;
    numbers.set(space, number);
    return number;
  };
  return {
    space: Uint32Array.from(ranges, ({ space }) => numberOf(space)),
    startSector: Float64Array.from(ranges, ({ startSector }) => startSector),
    sectors: Float64Array.from(ranges, ({ sectors }) => sectors),
  };
}
