// The way in: opens the catalog of a folder.

import { join } from 'node:path';

import { CATALOG_FILE } from '../../base/catalog-file.ts';
import type { Clock, Random } from '../../base/clock.ts';
import type { Catalog } from '../catalog.ts';
import type { Migration } from './migrations/migrations.ts';
import type { Retry } from './retry.ts';
import { SqliteCatalog } from './sqlite-catalog.ts';

export type SqliteCatalogOptions = {
  /** Made, mode 0700, when it is missing. */
  readonly folder: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Makes the catalog now; else the first write does, and until then it reads as empty. */
  readonly create: boolean;
  readonly retry?: Retry;
  readonly eventsKept?: number;
  /** For tests of migration. */
  readonly schema?: { readonly version: number; readonly migrations: readonly Migration[] };
};

/** CATALOG_NEWER, CATALOG_DAMAGED, CATALOG_LOCKED, CATALOG_DISK_FULL, NOT_PERMITTED. */
export async function openSqliteCatalog(options: SqliteCatalogOptions): Promise<Catalog> {
  const catalog = new SqliteCatalog({ ...options, path: join(options.folder, CATALOG_FILE) });
  try {
    if (options.create) await catalog.ensureMade();
    else await catalog.read(async () => {});
  } catch (error) {
    await catalog[Symbol.asyncDispose]();
    throw error;
  }
  return catalog;
}
