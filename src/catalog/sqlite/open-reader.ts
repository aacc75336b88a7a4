// A connection for reading where SQLite has no room for the shared memory beside the catalog: on a full filesystem and on a
// read-only one. What is there can then still be read.

import { existsSync, statSync } from 'node:fs';

import { XvdError } from '../../base/error.ts';
import { Connection } from './connection.ts';
import { isOnReadOnly } from './errors.ts';

/** Looks into the file once, so that what stands in the way of reading it is known. */
export function openReader(path: string): Connection {
  let connection: Connection | null = null;
  try {
    connection = new Connection(path, { readOnly: true });
    connection.get('SELECT 1 FROM sqlite_schema LIMIT 1');
    return connection;
  } catch (error) {
    connection?.close();
    const other = openWithoutShared(path, error);
    if (other === null) throw error;
    return other;
  }
}

/** After that error of the usual way; null when there is no other. To be closed after one read: it may lock others out. */
export function openWithoutShared(path: string, error: unknown): Connection | null {
  if (!(error instanceof XvdError)) return null;
  // Alone with the file, SQLite needs no shared memory.
  if (error.code === 'CATALOG_DISK_FULL') return new Connection(path, { readOnly: true, how: 'alone' });
  // Nobody can change it, and no commit lies in a log that could not be read.
  if (error.code === 'NOT_PERMITTED' && isOnReadOnly(path) && !hasLog(path)) return new Connection(path, { readOnly: true, how: 'immutable' });
  return null;
}

const hasLog = (path: string): boolean => existsSync(`${path}-shm`) || (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) > 0;
