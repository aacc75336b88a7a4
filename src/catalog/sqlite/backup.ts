// A consistent copy of a catalog in a new file, made while others write. The copy is complete or not there at all, needs no
// file beside it, and never replaces one.

import { closeSync, existsSync, fsyncSync, linkSync, openSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { backup, DatabaseSync } from 'node:sqlite';

import { XvdError } from '../../base/error.ts';
import { Connection } from './connection.ts';
import { catalogError, folderError } from './errors.ts';

export async function backupFrom(source: string, path: string): Promise<void> {
  refuseExisting(path);
  const part = `${path}.${process.pid}.part`;
  const from = new Connection(source, { readOnly: true });
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
