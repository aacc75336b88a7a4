// The catalog's file: made (mode 0600, never by SQLite, so that it never lies open to others), and brought to this version.
// A file without tables is a catalog that nobody has written yet: its first commit makes the tables, too.

import { closeSync, existsSync, mkdirSync, openSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';

import { XvdError } from '../../base/error.ts';
import { backupFrom, removeLeftParts } from './backup.ts';
import type { Connection } from './connection.ts';
import { folderError } from './errors.ts';
import type { Migration } from './migrations/migrations.ts';
import { APPLICATION_ID, schema } from './schema.ts';

export type Version = 'absent' | 'current' | 'older';

export function makeFile(path: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    refuseNetwork(dirname(path));
    // Only a file that is new is opened by us; closing any other would drop SQLite's locks on it.
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if (existsSync(path)) return;
    throw folderError(error, path);
  }
}

const networkFilesystems = new Map([
  [0x6969, 'NFS'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB2'],
  [0x517b, 'SMB'],
  [0x01021997, '9P'],
  [0x0bd00bd0, 'Lustre'],
  [0x00c36400, 'Ceph'],
  [0x5346414f, 'AFS'],
]);

/** SQLite's locks and its shared memory do not work between hosts. */
function refuseNetwork(folder: string): void {
  const name = networkFilesystems.get(statfsSync(folder).type >>> 0);
  if (name === undefined) return;
  throw new XvdError('NOT_SUPPORTED', `${folder} is on a network filesystem (${name}), where a catalog would not be safe`, {
    fix: 'Set XVD_STATE to a folder on a disk of this host.',
  });
}

/** Inside a transaction. Nothing is changed. */
export function versionOf(connection: Connection, current: number): Version {
  const version = Number(connection.get('PRAGMA user_version')?.['user_version']);
  if (version === current) return 'current';
  if (version > current) throw new XvdError('CATALOG_NEWER', `the catalog ${connection.path} is of version ${version}, this xvd knows ${current}`);
  if (version === 0 && connection.get('SELECT 1 FROM sqlite_schema LIMIT 1') === undefined) return 'absent';
  if (connection.get('PRAGMA application_id')?.['application_id'] !== APPLICATION_ID) {
    throw new XvdError('CATALOG_DAMAGED', `${connection.path} is a database, but no catalog of xvd`, {
      fix: 'Move it away, or set XVD_STATE to another folder.',
    });
  }
  return 'older';
}

/** Inside a write: the tables of a new catalog. */
export function makeTables(connection: Connection, catalogId: string, version: number): void {
  connection.exec(schema);
  connection.insert('meta', {
    id: 1,
    catalog_id: catalogId,
    commit_number: 0,
    next_device: 1,
    next_disk: 1,
    next_generation: 1,
    next_worker: 1,
    next_event: 1,
  });
  connection.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${version}`);
}

/** Inside a write, so that nobody else writes meanwhile: first a copy of the old one beside, then step by step. */
export async function migrate(connection: Connection, migrations: readonly Migration[], current: number): Promise<void> {
  let version = Number(connection.get('PRAGMA user_version')?.['user_version']);
  const commit = Number(connection.get('SELECT commit_number FROM meta')?.['commit_number']);
  const copy = `${connection.path}.version-${version}-commit-${commit}`;
  if (!existsSync(copy)) await backupFrom(connection.path, copy);
  removeLeftParts(copy);
  while (version < current) {
    const step = migrations.find((migration) => migration.from === version);
    if (step === undefined) throw new XvdError('CATALOG_DAMAGED', `no way is known from version ${version} of the catalog to ${current}`);
    connection.exec(step.sql);
    version += 1;
  }
  connection.exec(`PRAGMA user_version = ${version}`);
}
