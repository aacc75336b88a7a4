// What mends a catalog or takes one over: beside the guard of the labels, which refuses writing while they contradict it.

import { existsSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import type { AdoptOptions, AdoptResult } from '../app/adopt-device.ts';
import type { ImportLegacyOptions, ImportLegacyResult } from '../app/import-legacy.ts';
import type { DeviceMapInfo } from '../app/pool-map.ts';
import type { RecoverOptions, RecoverResult } from '../app/recover-catalog.ts';
import type { CatalogSystem } from '../app/system.ts';
import { XvdError } from '../base/error.ts';
import { composeCatalogSystem } from '../daemon/compose.ts';
import type { ComposedCatalog, Folders } from '../daemon/compose.ts';

export type Mend = {
  /** Binds a pool device to the one that replaced it; `dryRun` shows both. LABEL_FOREIGN, DEVICE_TOO_SMALL, DEVICE_BUSY. */
  adoptDevice(options: AdoptOptions): Promise<AdoptResult>;
  /** Back to a backup, before an event, or by what the labels know, for all disks or one. A catalog that can't be read is put
   *  aside with `force`. CATALOG_DAMAGED without, CATALOG_IN_USE, EVENT_NOT_FOUND. */
  recoverCatalog(options: RecoverOptions): Promise<RecoverResult>;
  /** Takes a database of 2004 over into an unused catalog. LEGACY_DAMAGED lists every wrong row. */
  importLegacy(options: ImportLegacyOptions): Promise<ImportLegacyResult>;
  /** Who has what of each device, run by run, ascending, without gaps. DEVICE_NOT_FOUND. */
  poolMap(options?: { readonly device?: string }): Promise<{ readonly devices: readonly DeviceMapInfo[] }>;
};

export const mendOf = ({ unguarded }: Pick<ComposedCatalog, 'unguarded'>, folders: Folders): Mend => ({
  adoptDevice: async (options) => (await import('../app/adopt-device.ts')).adoptDevice(unguarded, options),
  recoverCatalog: (options) => recover(unguarded, folders, options),
  importLegacy: async (options) => (await import('../app/import-legacy.ts')).importLegacy(unguarded, options),
  poolMap: async (options) => (await import('../app/pool-map.ts')).poolMap(unguarded, options),
});

async function recover(system: CatalogSystem, folders: Folders, options: RecoverOptions): Promise<RecoverResult> {
  const { recoverCatalog } = await import('../app/recover-catalog.ts');
  const damage = await damageOf(system, folders);
  if (damage === null) return recoverCatalog(system, options);
  if (options.force !== true) throw new XvdError('CATALOG_DAMAGED', `the present catalog can't be read: ${damage}`, { fix: 'Use --force: it is put aside, and every disk comes back suspect.' });
  const aside = setAside(folders);
  await using fresh = await composeCatalogSystem(folders);
  const result = await recoverCatalog(fresh.unguarded, { ...options, presentLost: true });
  return { ...result, warnings: [`the catalog that could not be read is now ${aside}`, ...result.warnings] };
}

/** What SQLite says about the file; null = it can be read, or there is none. */
async function damageOf({ catalog }: CatalogSystem, { stateFolder }: Folders): Promise<string | null> {
  if (!existsSync(join(stateFolder, 'catalog.sqlite'))) return null;
  try {
    await catalog.read((reader) => reader.commitNumber());
    const [line] = await catalog.selfCheck();
    return line?.startsWith('sqlite:') === true ? line : null;
  } catch (error) {
    if (error instanceof XvdError && error.code === 'CATALOG_DAMAGED') return error.message;
    throw error;
  }
}

/** Never deleted: it may hold what nothing else does. */
function setAside({ stateFolder }: Folders): string {
  const names = readdirSync(stateFolder);
  let number = 1;
  while (names.includes(`damaged-${number}.sqlite`)) number += 1;
  for (const suffix of ['', '-wal', '-shm'].filter((each) => names.includes(`catalog.sqlite${each}`)))
    renameSync(join(stateFolder, `catalog.sqlite${suffix}`), join(stateFolder, `damaged-${number}.sqlite${suffix}`));
  return join(stateFolder, `damaged-${number}.sqlite`);
}
