// The catalog in one SQLite file: one connection that writes, some that read, each opened when first needed.
// Nobody but SQLite opens the file once it exists: closing such a descriptor would drop SQLite's locks.

import { existsSync } from 'node:fs';

import type { Random } from '../../base/clock.ts';
import { XvdError } from '../../base/error.ts';
import { invariant } from '../../base/invariant.ts';
import { limits } from '../../base/limits.ts';
import type { Catalog, CatalogReader, CatalogWriter } from '../catalog.ts';
import { backupFrom } from './backup.ts';
import { Connection } from './connection.ts';
import { DeviceCache } from './device-cache.ts';
import { makeFile, makeTables, migrate, versionOf } from './file.ts';
import type { Version } from './file.ts';
import { migrations } from './migrations/migrations.ts';
import type { Migration } from './migrations/migrations.ts';
import { readDisks } from './read-disks.ts';
import { readSpace } from './read-space.ts';
import { readUsers } from './read-users.ts';
import { retrying } from './retry.ts';
import type { Retry } from './retry.ts';
import { openReader, openWithoutShared } from './open-reader.ts';
import { SCHEMA_VERSION } from './schema.ts';
import { selfCheck } from './self-check.ts';
import { Transaction } from './transaction.ts';
import { writeDisks } from './write-disks.ts';
import { writeSpace } from './write-space.ts';
import { writeUsers } from './write-users.ts';

type Options = {
  readonly path: string;
  readonly random: Random;
  readonly retry?: Retry;
  readonly eventsKept?: number;
  readonly schema?: { readonly version: number; readonly migrations: readonly Migration[] };
};

/** Identity of a catalog that nobody has written yet. */
const NO_CATALOG_ID = '00000000-0000-0000-0000-000000000000';

export class SqliteCatalog implements Catalog {
  readonly #options: Options;
  readonly #path: string;
  readonly #version: number;
  readonly #migrations: readonly Migration[];
  readonly #eventsKept: number;
  readonly #idleReaders: Connection[] = [];
  readonly #devices = new DeviceCache();
  #writer: Connection | null = null;
  #watcher: Connection | null = null;
  /** Settles when the last write in the queue has. */
  #queue: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(options: Options) {
    this.#options = options;
    this.#path = options.path;
    this.#version = options.schema?.version ?? SCHEMA_VERSION;
    this.#migrations = options.schema?.migrations ?? migrations;
    this.#eventsKept = options.eventsKept ?? limits.events;
  }

  /** Makes what is missing and brings the file to this version. */
  async ensureMade(): Promise<void> {
    await this.#queued(async () => {
      const connection = await this.#begin();
      connection.commit();
    });
  }

  async read<T>(body: (reader: CatalogReader) => Promise<T>): Promise<T> {
    invariant(!this.#closed, 'the catalog is open');
    if (!this.#isThere()) return this.#readEmpty(body);
    const { connection, state, keep } = await this.#reader();
    try {
      if (state === 'current') return await this.#reading(connection, body);
      connection.rollback();
      if (state === 'absent') return await this.#readEmpty(body);
      await this.ensureMade();
      return await this.read(body);
    } finally {
      connection.rollback();
      if (this.#closed || !keep) connection.close();
      else this.#idleReaders.push(connection);
    }
  }

  async write<T>(body: (writer: CatalogWriter) => Promise<T>): Promise<T> {
    return this.#queued(async () => {
      const connection = await this.#begin();
      try {
        const transaction = new Transaction(connection, this.#devices);
        const result = await body(this.#writerOf(transaction)).finally(() => transaction.end());
        transaction.settle();
        connection.commit();
        return result;
      } finally {
        connection.rollback();
      }
    });
  }

  async changeMark(): Promise<number> {
    invariant(!this.#closed, 'the catalog is open');
    if (!this.#isThere()) return 0;
    return this.#retrying(() => {
      this.#watcher ??= new Connection(this.#path, { readOnly: true });
      return Number(this.#watcher.get('PRAGMA data_version')?.['data_version']);
    });
  }

  async backup(path: string): Promise<void> {
    invariant(!this.#closed, 'the catalog is open');
    // Of this version, and there.
    if (this.#isThere()) await this.read(async () => {});
    else await this.ensureMade();
    await backupFrom(this.#path, path);
  }

  async selfCheck(): Promise<readonly string[]> {
    invariant(!this.#closed, 'the catalog is open');
    if (!this.#isThere()) return [];
    const connection = await this.#retrying(() => openReader(this.#path));
    try {
      return (await this.#snapshot(connection)) === 'current' ? selfCheck(connection) : [];
    } finally {
      connection.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.#queue;
    for (const connection of [...this.#idleReaders.splice(0), this.#writer, this.#watcher]) connection?.close();
    this.#writer = null;
    this.#watcher = null;
  }

  /** Asked of the filesystem until there is a connection: then it is what that has open. */
  #isThere(): boolean {
    return this.#writer !== null || this.#idleReaders.length > 0 || existsSync(this.#path);
  }

  /** A connection with its snapshot; one that may lock others out is not kept. */
  async #reader(): Promise<{ readonly connection: Connection; readonly state: Version; readonly keep: boolean }> {
    let connection: Connection | null = null;
    try {
      connection = this.#idleReaders.pop() ?? (await this.#retrying(() => new Connection(this.#path, { readOnly: true })));
      return { connection, state: await this.#snapshot(connection), keep: true };
    } catch (error) {
      connection?.close();
      const other = openWithoutShared(this.#path, error);
      if (other === null) throw error;
      return { connection: other, state: await this.#snapshot(other), keep: false };
    }
  }

  /** The first look at the file, which is that for the version, takes the snapshot. */
  #snapshot(connection: Connection): Promise<Version> {
    return this.#retrying(() => {
      connection.rollback();
      connection.begin('BEGIN');
      return versionOf(connection, this.#version);
    });
  }

  #retrying<T>(attempt: () => T): Promise<T> {
    return retrying(this.#path, this.#options.random, this.#options.retry ?? {}, attempt);
  }

  /** Writers of this process, one after the other. */
  #queued<T>(body: () => Promise<T>): Promise<T> {
    invariant(!this.#closed, 'the catalog is open');
    const turn = this.#queue.then(body);
    this.#queue = turn.catch(() => {});
    return turn;
  }

  /** The writer's connection, in a transaction, on a catalog of this version. */
  async #begin(): Promise<Connection> {
    if (!this.#isThere()) makeFile(this.#path);
    this.#writer ??= await this.#retrying(() => openForWriting(this.#path));
    const connection = this.#writer;
    await this.#retrying(() => connection.begin('BEGIN IMMEDIATE'));
    try {
      const state = versionOf(connection, this.#version);
      if (state === 'absent') makeTables(connection, this.#options.random.uuid(), this.#version);
      if (state === 'older') await migrate(connection, this.#migrations, this.#version);
      return connection;
    } catch (error) {
      connection.rollback();
      throw error;
    }
  }

  async #reading<T>(connection: Connection, body: (reader: CatalogReader) => Promise<T>): Promise<T> {
    const transaction = new Transaction(connection, this.#devices);
    return body(this.#readerOf(transaction)).finally(() => transaction.end());
  }

  async #readEmpty<T>(body: (reader: CatalogReader) => Promise<T>): Promise<T> {
    const connection = new Connection(':memory:', { readOnly: false });
    try {
      makeTables(connection, NO_CATALOG_ID, this.#version);
      return await this.#reading(connection, body);
    } finally {
      connection.close();
    }
  }

  #readerOf(transaction: Transaction): CatalogReader {
    return { ...readSpace(transaction), ...readDisks(transaction), ...readUsers(transaction, this.#eventsKept) };
  }

  #writerOf(transaction: Transaction): CatalogWriter {
    return { ...this.#readerOf(transaction), ...writeSpace(transaction), ...writeDisks(transaction), ...writeUsers(transaction, this.#eventsKept) };
  }
}

function openForWriting(path: string): Connection {
  const connection = new Connection(path, { readOnly: false });
  try {
    // Only of a new file. Commits touch about a dozen pages, and what is written is what they cost.
    connection.exec('PRAGMA page_size = 1024');
    const mode = connection.get('PRAGMA journal_mode = WAL')?.['journal_mode'];
    if (mode !== 'wal') throw new XvdError('NOT_SUPPORTED', `the filesystem of ${path} cannot hold a catalog: it has no shared memory for SQLite`);
    return connection;
  } catch (error) {
    connection.close();
    throw error;
  }
}
