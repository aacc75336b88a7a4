// Guests that `xl save` has put into a file: Xen forgets them, but they will come back and write on, so their VBDs are kept. One
// file a guest in XVD_RUN, named by its UUID: a later daemon must know too, and a reboot of the host ends them all.

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Generation } from '../../core/types.ts';

export type SavedGuest = { readonly uuid: string; readonly name: string; readonly generations: readonly Generation[] };

export type SavedGuests = {
  all(): readonly SavedGuest[];
  put(guest: SavedGuest): void;
  remove(uuid: string): void;
};

export function savedGuests(runFolder: string): SavedGuests {
  const folder = join(runFolder, 'xen', 'saved');
  return {
    all() {
      try {
        return readdirSync(folder).map((uuid) => JSON.parse(readFileSync(join(folder, uuid), 'utf8')) as SavedGuest);
      } catch {
        return [];
      }
    },
    put(guest) {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      writeFileSync(join(folder, guest.uuid), JSON.stringify(guest), { mode: 0o600 });
    },
    remove: (uuid) => rmSync(join(folder, uuid), { force: true }),
  };
}
