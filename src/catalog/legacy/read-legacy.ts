// Reads a database of 2004 as plain rows: a SQLite 3 file, or the SQL text of `sqlite .dump`. Nothing is written anywhere: the
// file is opened read-only, and text is run in memory where it may only make tables and fill them.

import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { constants, DatabaseSync } from 'node:sqlite';

import { XvdError } from '../../base/error.ts';
import type { LegacyRow, LegacyTables, ReadLegacy } from '../../core/legacy.ts';

const SQLITE_2 = '** This file contains an SQLite 2';
const SQLITE_3 = 'SQLite format 3\0';
/** A pool of 2004 has some thousand extents; each is a line of some 50 characters. */
const DUMP_BYTES = 256 * 1024 * 1024;

export const readLegacy: ReadLegacy = (file) => {
  const head = headOf(file);
  if (head.startsWith(SQLITE_2)) {
    throw new XvdError('VALUE_INVALID', `${file} is a database of SQLite 2, which nothing here can read`, {
      fix: `Convert it with \`sqlite ${file} .dump > ${file}.sql\` (the program of SQLite 2), and import ${file}.sql.`,
    });
  }
  const database = head === SQLITE_3 ? open(file) : load(file);
  try {
    return {
      extents: rowsOf(database, file, 'vdisk_extents'),
      parts: rowsOf(database, file, 'vdisk_part'),
      disks: rowsOf(database, file, 'vdisks'),
    } satisfies LegacyTables;
  } finally {
    database.close();
  }
};

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
const noDatabase = (file: string, why: string, cause?: unknown): XvdError =>
  new XvdError('VALUE_INVALID', `${file} is no database of 2004: ${why}`, {
    fix: 'Give the SQLite 3 file, or the SQL text that `sqlite FILE .dump` prints.',
    cause,
  });

function headOf(file: string): string {
  try {
    if (!statSync(file).isFile()) throw noDatabase(file, 'it is no regular file');
    const descriptor = openSync(file, 'r');
    try {
      const head = Buffer.alloc(SQLITE_2.length);
      const length = readSync(descriptor, head, 0, head.length, 0);
      const text = head.toString('latin1', 0, length);
      return text.startsWith(SQLITE_3) ? SQLITE_3 : text;
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : null;
    if (code === 'ENOENT' || code === 'ENOTDIR') throw new XvdError('FILE_NOT_FOUND', `there is no file ${file}`, { cause: error });
    if (code === 'EACCES' || code === 'EPERM') throw new XvdError('NOT_PERMITTED', `no permission to read ${file}`, { cause: error });
    throw error;
  }
}

function open(file: string): DatabaseSync {
  try {
    return new DatabaseSync(file, { readOnly: true });
  } catch (error) {
    throw noDatabase(file, messageOf(error), error);
  }
}

/** What a dump needs, and no more: text of a stranger must not reach other files. */
const allowed = new Set([
  constants.SQLITE_TRANSACTION,
  constants.SQLITE_CREATE_TABLE,
  constants.SQLITE_CREATE_INDEX,
  constants.SQLITE_INSERT,
  constants.SQLITE_READ,
  constants.SQLITE_UPDATE,
  constants.SQLITE_REINDEX,
]);

function load(file: string): DatabaseSync {
  if (statSync(file).size > DUMP_BYTES) throw noDatabase(file, `it is larger than ${DUMP_BYTES} bytes`);
  const text = readFileSync(file, 'utf8');
  if (!/\bCREATE\s+TABLE\b/i.test(text)) throw noDatabase(file, 'it is neither a SQLite file nor SQL text with its tables');
  const database = new DatabaseSync(':memory:', { enableForeignKeyConstraints: false });
  database.setAuthorizer((action, name) =>
    allowed.has(action) || (action === constants.SQLITE_PRAGMA && name === 'foreign_keys') ? constants.SQLITE_OK : constants.SQLITE_DENY,
  );
  try {
    database.exec(text);
  } catch (error) {
    database.close();
    throw noDatabase(file, messageOf(error), error);
  }
  database.setAuthorizer(null);
  return database;
}

function rowsOf(database: DatabaseSync, file: string, table: string): LegacyRow[] {
  try {
    const rows = database.prepare(`SELECT rowid AS legacy_rowid, * FROM ${table} ORDER BY rowid`).all();
    return rows.map(({ legacy_rowid: rowid, ...values }) => ({ rowid: Number(rowid), values: values as LegacyRow['values'] }));
  } catch (error) {
    throw new XvdError('LEGACY_DAMAGED', `table ${table} of ${file} cannot be read: ${messageOf(error)}`, { cause: error });
  }
}
