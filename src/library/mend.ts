// What takes over or brings back a catalog: adopt, recover, import-legacy. They work beside the guard of labels, since the
// labels are what they mend.

import { existsSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import type { AdoptOptions, AdoptResult } from '../app/adopt-device.ts';
import type { ImportLegacyOptions, ImportLegacyResult } from '../app/import-legacy.ts';
import type { RecoverOptions, RecoverResult } from '../app/recover-catalog.ts';
import { XvdError } from '../base/error.ts';
import { composeCatalogSystem } from '../daemon/compose.ts';
import type { ComposedCatalog, Folders } from '../daemon/compose.ts';

/** `presentLost` is found out here. */
export type RecoverWish = RecoverOptions extends infer Options ? (Options extends unknown ? Omit<Options, 'presentLost'> : never) : never;

export interface Mend {
  /** Binds a pool device to the one that replaced it; `was` and `is` show both. DEVICE_NOT_FOUND, LABEL_FOREIGN, DEVICE_BUSY. */
  adoptDevice(options: AdoptOptions): Promise<AdoptResult>;
  /** Back to a backup's file, before an event, or to what the labels of devices know. CATALOG_IN_USE, FILE_NOT_FOUND, EVENT_NOT_FOUND. */
  recoverCatalog(options: RecoverWish): Promise<RecoverResult>;
  /** Takes a database of 2004 over into an unused catalog. LEGACY_DAMAGED, CATALOG_IN_USE. */
  importLegacy(options: ImportLegacyOptions): Promise<ImportLegacyResult>;
}

export function mendOf(system: ComposedCatalog, folders: Folders): Mend {
  return {
    adoptDevice: async (options) => (await import('../app/adopt-device.ts')).adoptDevice(system.unguarded, options),
    importLegacy: async (options) => (await import('../app/import-legacy.ts')).importLegacy(system.unguarded, options),
    recoverCatalog: async (options) => {
      const { recoverCatalog } = await import('../app/recover-catalog.ts');
      if (await isReadable(system, folders)) return recoverCatalog(system.unguarded, options);
      if (options.force !== true) return recoverCatalog(system.unguarded, { ...options, presentLost: true });
      await using fresh = await besideDamaged(folders);
      return await recoverCatalog(fresh.unguarded, { ...options, presentLost: true });
    },
  };
}

async function isReadable(system: ComposedCatalog, { stateFolder }: Folders): Promise<boolean> {
  if (!existsSync(join(stateFolder, 'catalog.sqlite'))) return true;
  try {
    await system.unguarded.catalog.read((reader) => reader.commitNumber());
    return true;
  } catch (error) {
    if (error instanceof XvdError && error.code === 'CATALOG_DAMAGED') return false;
    throw error;
  }
}

/** The damaged files are kept under another name: they may hold what nothing else does. */
async function besideDamaged(folders: Folders): Promise<ComposedCatalog> {
  const names = readdirSync(folders.stateFolder).filter((name) => /^catalog\.sqlite(-wal|-shm)?$/.test(name));
  const before = readdirSync(folders.stateFolder).filter((name) => /^damaged-\d+-catalog\.sqlite$/.test(name)).length;
  for (const name of names) renameSync(join(folders.stateFolder, name), join(folders.stateFolder, `damaged-${before + 1}-${name}`));
  return composeCatalogSystem(folders);
}
