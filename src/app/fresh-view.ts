// A transaction that judges by what the host told just before it, and looks again when devices joined the pool, or VBDs of other
// devices came, in between.

import { XvdError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import type { CatalogReader } from '../catalog/catalog.ts';
import type { DeviceId, SectorUser } from '../core/types.ts';
import { change } from './change.ts';
import type { Change } from './change.ts';
import { outsideUsers } from './reserve-vbd.ts';
import { lookUpPlaces } from './sector-users.ts';
import type { Places } from './sector-users.ts';
import type { System } from './system.ts';

export type View = { readonly places: Places; readonly outside: readonly SectorUser[] };

class LookedTooEarly extends Error {}

export async function changeFresh<T>(system: System, cause: string, body: (tx: Change, view: View) => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    const before = await system.catalog.read(standing);
    const places = await lookUpPlaces(system, before.devices, before.paths);
    const view = { places, outside: await outsideUsers(system) };
    const ids = new Set<DeviceId>(before.devices.map(({ id }) => id));
    const paths = new Set(before.paths);
    try {
      return await change(system, cause, async (tx) => {
        const now = await standing(tx.writer);
        if (!now.devices.every(({ id }) => ids.has(id)) || !now.paths.every((path) => paths.has(path))) throw new LookedTooEarly();
        return body(tx, view);
      });
    } catch (error) {
      if (!(error instanceof LookedTooEarly)) throw error;
      if (tries >= limits.attachTries) throw new XvdError('CATALOG_LOCKED', 'the pool keeps changing while it is looked at');
    }
  }
}

async function standing(reader: CatalogReader) {
  return { devices: await reader.devices(), paths: (await reader.vbds()).flatMap(({ source }) => (source.kind === 'phy' ? [source.path] : [])) };
}
