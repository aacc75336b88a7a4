// The sharing check of one new use against everybody, and its verdict in words.

import { XvdError } from '../base/error.ts';
import { checkSharing } from '../core/sharing.ts';
import type { Conflict } from '../core/sharing.ts';
import type { ExpertLevel, SectorUser } from '../core/types.ts';
import type { Places } from './sector-users.ts';
import type { ConflictInfo } from './shapes.ts';

export type Verdict = { readonly level: ExpertLevel; readonly warnings: readonly string[] };

const warningOf = { 1: 'a writer shares sectors with a reader', 2: 'two writers share sectors' } as const;

/** The level and its warnings; SHARING_REFUSED above the expert level, naming every user, its mode and range. */
export function allowSharing(use: SectorUser, users: readonly SectorUser[], expert: ExpertLevel, places: Places): Verdict {
  const { level, conflicts } = checkSharing(use, users);
  const serious = conflicts.filter(({ user }) => levelOf(use, user) > expert);
  if (level > expert) {
    const infos = serious.map((conflict) => conflictInfo(conflict, places));
    const names = infos.map(({ user, name, mode, device, startSector, sectors }) => `${user} ${name} (${mode}, ${device} sectors ${startSector}+${sectors})`);
    throw new XvdError(
      'SHARING_REFUSED',
      `${use.name}, wanted ${use.mode}, is level ${level} with ${[...new Set(names)].join('; ')}; the expert level is ${expert}`,
      {
        fix: `Detach or unmount ${infos[0]?.name ?? 'it'} first, attach read-only, or use --expert ${level} if its users agree.`,
        details: { level, conflicts: infos },
      },
    );
  }
  return { level, warnings: level === 0 ? [] : [`${warningOf[level]}: ${[...new Set(conflicts.map(({ user }) => `${user.kind} ${user.name}`))].join(', ')}`] };
}

export const levelOf = (use: SectorUser, user: SectorUser): ExpertLevel => ((use.mode === 'w' ? 1 : 0) + (user.mode === 'w' ? 1 : 0)) as ExpertLevel;

function conflictInfo({ user, range }: Conflict, places: Places): ConflictInfo {
  return {
    user: user.kind,
    name: user.name,
    mode: user.mode,
    device: deviceOfSpace(range.space, places),
    startSector: range.startSector,
    sectors: range.sectors,
  };
}

function deviceOfSpace(space: string, places: Places): string {
  for (const facts of [...places.byDevice.values(), ...places.byPath.values()]) {
    if (facts.footprint.own.some((range) => range.space === space)) return facts.drivePath;
  }
  return space;
}
