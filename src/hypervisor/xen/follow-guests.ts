// Tells when a guest has ended for good. A reboot gives it another number, and none for a moment; a save takes it away until it is
// restored. A guest is followed by its UUID: gone is what stays away for a while, unless it was last seen suspended.

import type { ListedDomain } from './guests.ts';

export type Followed = { readonly uuid: string; readonly name: string; readonly goneSinceMs: number | null; readonly suspended: boolean };

export type Look = {
  readonly followed: ReadonlyMap<string, Followed>;
  readonly ended: readonly Followed[];
  /** Somebody is away: look again soon. */
  readonly undecided: boolean;
};

/** xl needs a few seconds to build a guest anew when it reboots, an emulated host more. */
export const AWAY_MS = 20_000;

export function lookAgain(before: ReadonlyMap<string, Followed>, now: readonly ListedDomain[], nowMs: number): Look {
  const followed = new Map<string, Followed>();
  const ended: Followed[] = [];
  for (const { uuid, name, shutdown } of now) followed.set(uuid, { uuid, name, goneSinceMs: null, suspended: shutdown === '2' });
  for (const [uuid, guest] of before) {
    // Saved, or moved to another host: it writes on when it comes back.
    if (followed.has(uuid) || guest.suspended) continue;
    if (guest.goneSinceMs !== null && nowMs - guest.goneSinceMs >= AWAY_MS) ended.push(guest);
    else followed.set(uuid, { ...guest, goneSinceMs: guest.goneSinceMs ?? nowMs });
  }
  const undecided = [...followed.values()].some(({ goneSinceMs }) => goneSinceMs !== null);
  return { followed, ended, undecided };
}
