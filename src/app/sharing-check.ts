// The sharing check of one new use against everybody, and its verdict in words.

import { XvdError } from '../base/error.ts';
import { checkSharing } from '../core/sharing.ts';
import type { Conflict } from '../core/sharing.ts';
import type { ExpertLevel, SectorUser } from '../core/types.ts';
import type { Places } from './sector-users.ts';
import type { ConflictInfo } from './shapes.ts';

export type Verdict = { readonly level: ExpertLevel; readonly conflicts: readonly ConflictInfo[]; readonly warnings: readonly string[] };

const warningOf = { 1: 'a writer shares sectors with a reader', 2: 'two writers share sectors' } as const;

/** The level, whom it meets, and warnings; SHARING_REFUSED above the expert level, naming every user, its mode and range. */
export function allowSharing(use: SectorUser, users: readonly SectorUser[], expert: ExpertLevel, places: Places): Verdict {
  const { level, conflicts: met } = checkSharing(use, users);
  const conflicts = met.map((conflict) => conflictInfo(conflict, places));
  if (level > expert) {
    const serious = met.filter(({ user }) => levelOf(use, user) > expert);
    const infos = serious.map((conflict) => conflictInfo(conflict, places));
    throw new XvdError(
      'SHARING_REFUSED',
      `${use.name}, wanted ${use.mode}, is level ${level} with ${[...new Set(infos.map(conflictText))].join('; ')}; the expert level is ${expert}`,
      { fix: fixOf(use, serious, level, expert), details: { level, conflicts: infos } },
    );
  }
  return { level, conflicts, warnings: level === 0 ? [] : [`${warningOf[level]}: ${[...new Set(conflicts.map(conflictText))].join('; ')}`] };
}

const conflictText = ({ user, name, mode, device, startSector, sectors }: ConflictInfo): string =>
  `${user} ${name} (${mode}, ${device} sectors ${startSector}+${sectors})`;

/** What would resolve it: for each user the way to end it, and what would make it bearable. */
function fixOf(use: SectorUser, serious: readonly Conflict[], level: ExpertLevel, expert: ExpertLevel): string {
  const ways = [...new Set(serious.map(({ user }) => remedyOf(user)))];
  const asReader = use.mode === 'w' && serious.every(({ user }) => levelOf({ mode: 'r' }, user) <= expert);
  return `${ways.join('; ')}${asReader ? '; or attach it read-only' : ''}; or use --expert ${level} if they all agree to share.`;
}

function remedyOf({ kind, name, detach }: SectorUser): string {
  switch (kind) {
    case 'vbd':
      return detach === undefined ? `Take ${name} out of its domain` : `Detach it: \`xvd detach ${detach.target} ${detach.domain}\``;
    case 'mount':
      return `Unmount ${name}`;
    case 'swap':
      return `\`swapoff ${name}\``;
    case 'loop':
      return `\`losetup -d ${name.split(' ')[0]}\``;
    case 'holder':
      return `Let ${name} go`;
    case 'process':
      return `End ${name}, or let it close the device`;
    case 'copy':
      return `Wait for the ${name}`;
    case 'pool':
      return `\`xvd unformat ${name}\``;
  }
}

export const levelOf = (use: Pick<SectorUser, 'mode'>, user: SectorUser): ExpertLevel =>
  ((use.mode === 'w' ? 1 : 0) + (user.mode === 'w' ? 1 : 0)) as ExpertLevel;

function conflictInfo({ user, range }: Conflict, places: Places): ConflictInfo {
  return {
    user: user.kind,
    name: user.name,
    mode: user.mode,
    device: range.device ?? deviceOfSpace(range.space, places),
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
