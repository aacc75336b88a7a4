// Opens a file that backup() made, for reading; and puts a catalog that can't be read aside, so that another can take its place.

import { existsSync, renameSync } from 'node:fs';
import { join } from 'node:path';

import { CATALOG_FILE } from '../../base/catalog-file.ts';
import type { Random } from '../../base/clock.ts';
import { XvdError } from '../../base/error.ts';
import type { Catalog } from '../catalog.ts';
import { folderError } from './errors.ts';
import { SqliteCatalog } from './sqlite-catalog.ts';

/** FILE_NOT_FOUND, CATALOG_DAMAGED, CATALOG_NEWER. The caller disposes of it. */
export async function openSqliteCopy(options: { readonly file: string; readonly random: Random }): Promise<Catalog> {
  if (!existsSync(options.file)) throw new XvdError('FILE_NOT_FOUND', `there is no file ${options.file}`);
  const copy = new SqliteCatalog({ path: options.file, random: options.random });
  try {
    await copy.read(async () => {});
  } catch (error) {
    await copy[Symbol.asyncDispose]();
    throw error;
  }
  return copy;
}

/** Renames the files of a damaged catalog; gives the new name. Nobody may have it open. */
export function setCatalogAside(folder: string): string {
  const path = join(folder, CATALOG_FILE);
  let number = 1;
  while (existsSync(`${path}.damaged-${number}`)) number += 1;
  const aside = `${path}.damaged-${number}`;
  try {
    // The log first: a catalog without its log is older than it was, one with the log of another is worse.
    for (const suffix of ['-wal', '-shm', '']) if (existsSync(`${path}${suffix}`)) renameSync(`${path}${suffix}`, `${aside}${suffix}`);
  } catch (error) {
    throw folderError(error, path);
  }
  return aside;
}
