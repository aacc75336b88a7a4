import type { CatalogSystem } from './system.ts';

/** A consistent copy of the catalog into a new file, while others write. An existing file is refused. */
export async function backupCatalog(system: CatalogSystem, options: { readonly file: string }): Promise<{ file: string; changed: true }> {
  await system.catalog.backup(options.file);
  return { file: options.file, changed: true };
}
