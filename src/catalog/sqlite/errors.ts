// What SQLite says, as an answer of xvd. Result codes: https://sqlite.org/rescode.html (the low byte is the primary code).

import { accessSync, constants } from 'node:fs';
import { dirname } from 'node:path';

import { XvdError } from '../../base/error.ts';
import { InvariantError } from '../../base/invariant.ts';

const ERROR = 1;
const PERM = 3;
const BUSY = 5;
const LOCKED = 6;
const READONLY = 8;
const IOERR = 10;
const CORRUPT = 11;
const FULL = 13;
const CANTOPEN = 14;
const PROTOCOL = 15;
const TOOBIG = 18;
const CONSTRAINT = 19;
const MISMATCH = 20;
const AUTH = 23;
const NOTADB = 26;
const CONSTRAINT_UNIQUE = 2067;
/** No room for the memory that connections share, in a file beside the catalog. */
const IOERR_SHMSIZE = 4874;

/** SQLite's extended result code, or null when the error is not SQLite's. */
export function resultCode(error: unknown): number | null {
  if (!(error instanceof Error) || !('errcode' in error)) return null;
  return typeof error.errcode === 'number' ? error.errcode : null;
}

/** Another connection is in the way for now: to be tried again. PROTOCOL is a lost race for the lock of a WAL's start. */
export function isBusy(error: unknown): boolean {
  const code = resultCode(error);
  return code !== null && [BUSY, LOCKED, PROTOCOL].includes(code & 0xff);
}

export function isNameTaken(error: unknown): boolean {
  return resultCode(error) === CONSTRAINT_UNIQUE && error instanceof Error && error.message.includes('disk.name');
}

export const nameTaken = (cause?: unknown): XvdError => new XvdError('NAME_TAKEN', 'another disk bears that name', { cause });

/** Errors that are not SQLite's pass unchanged. A constraint of a table is broken only by a bug of ours. */
export function catalogError(error: unknown, path: string): unknown {
  const code = resultCode(error);
  const said = error instanceof Error ? error.message : String(error);
  // Node's refusal of an integer that is not safe, of which we have written none.
  if (error instanceof Error && 'code' in error && error.code === 'ERR_OUT_OF_RANGE') {
    return new XvdError('CATALOG_DAMAGED', `the catalog ${path} is damaged: ${said}`, { cause: error });
  }
  if (code === null) return error;
  if (code === IOERR_SHMSIZE) return new XvdError('CATALOG_DISK_FULL', `no space is left beside the catalog ${path}`, { cause: error });
  switch (code & 0xff) {
    case BUSY:
    case LOCKED:
    case PROTOCOL:
      return new XvdError('CATALOG_LOCKED', `the catalog ${path} is locked by another process`, { cause: error });
    case FULL:
      return new XvdError('CATALOG_DISK_FULL', `no space is left to write the catalog ${path}`, { cause: error });
    case CORRUPT:
    case NOTADB:
    // Our statements and values are fit: tables or rows must be other than they were made.
    case ERROR:
    case TOOBIG:
    case MISMATCH:
      return new XvdError('CATALOG_DAMAGED', `the catalog ${path} is damaged: ${said}`, { cause: error });
    case READONLY:
    case PERM:
    case AUTH:
      if (isOnReadOnly(path)) return readOnlyError(error, path);
      return new XvdError('NOT_PERMITTED', `the catalog ${path} cannot be written: ${said}`, { cause: error });
    case CANTOPEN:
      if (isOnReadOnly(path)) return readOnlyError(error, path);
      return new XvdError('NOT_PERMITTED', `the catalog ${path} cannot be opened: it and its folder must be readable and writable`, { cause: error });
    case IOERR:
      return new XvdError('DEVICE_FAILED', `the device under the catalog ${path} failed: ${said}`, { cause: error });
    case CONSTRAINT:
      return new InvariantError(`the catalog ${path} would break its rules: ${said}`, { cause: error });
    default:
      return error;
  }
}

const readOnlyError = (error: unknown, path: string): XvdError =>
  new XvdError('NOT_PERMITTED', `the catalog ${path} lies on a read-only filesystem`, {
    cause: error,
    fix: 'Remount it for writing; its reason is in the kernel log.',
  });

export function isOnReadOnly(path: string): boolean {
  try {
    accessSync(dirname(path), constants.W_OK);
    return false;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EROFS';
  }
}

/** Errors of the filesystem around the catalog's file. */
export function folderError(error: unknown, path: string): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS')
    return new XvdError('NOT_PERMITTED', `no permission to make or read ${path}`, { cause: error });
  if (code === 'ENOSPC' || code === 'EDQUOT') return new XvdError('CATALOG_DISK_FULL', `no space is left to make ${path}`, { cause: error });
  if (code === 'ENOENT') return new XvdError('FILE_NOT_FOUND', `the folder of ${path} does not exist`, { cause: error });
  if (code === 'ENOTDIR') return new XvdError('VALUE_INVALID', `${path} lies under something that is no folder`, { cause: error, fix: 'Name a folder.' });
  return error;
}
