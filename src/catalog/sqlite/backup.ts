// A consistent copy of a catalog in a new file, made while others write. The copy is complete or not there at all, needs no
// file beside it, and never replaces one.

import { closeSync, existsSync, fsyncSync, linkSync, openSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { backup, DatabaseSync } from 'node:sqlite';

import { XvdError } from '../../base/error.ts';
import { catalogError, folderError } from './errors.ts';
import { openReader } from './open-reader.ts';

export async function backupFrom(source: string, path: string): Promise<void> {
  refuseExisting(path);
  removeLeftParts(path);
  const part = `${path}.${process.pid}.part`;
  const from = openReader(source);
  try {
    closeSync(openSync(part, 'wx', 0o600));
    // One snapshot for all of it: other writers go on and are not seen.
    from.exec('BEGIN');
    from.get('SELECT 1 FROM sqlite_schema LIMIT 1');
    await backup(from.database, part, { rate: 1000 });
    from.rollback();
    const copy = new DatabaseSync(part);
    try {
      copy.exec('PRAGMA journal_mode = DELETE');
    } finally {
      copy.close();
    }
    publish(part, path);
  } catch (error) {
    throw folderError(catalogError(error, path), path);
  } finally {
    from.close();
    for (const leftover of [part, `${part}-wal`, `${part}-shm`, `${part}-journal`]) rmSync(leftover, { force: true });
  }
}

/** What a backup to that file left that was killed: parts bear the number of their process. */
export function removeLeftParts(path: string): void {
  const start = `${basename(path)}.`;
  for (const name of readdirOf(dirname(path))) {
    const pid = name.startsWith(start) ? /^(\d+)\.part(-wal|-shm|-journal)?$/.exec(name.slice(start.length))?.[1] : undefined;
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) rmSync(join(dirname(path), name), { force: true });
  }
}

function readdirOf(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    // What is wrong with the folder is told by who writes into it.
    return [];
  }
}

function refuseExisting(path: string): void {
  if (existsSync(path)) throw new XvdError('VALUE_INVALID', `${path} exists already`, { fix: 'Name a file that does not exist yet.' });
}

function publish(part: string, path: string): void {
  sync(part);
  try {
    linkSync(part, path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') refuseExisting(path);
    // A filesystem without hard links.
    else renameSync(part, path);
  }
  sync(dirname(path));
}

function sync(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
