// One connection to the catalog's file, with its prepared statements kept. Every error leaves as an answer of xvd.
// SQLite itself never waits (timeout 0): waiting is the callers' own, at random intervals.

import { utimesSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';

import { catalogError, isBusy, isNameTaken, nameTaken } from './errors.ts';
import type { Columns, Row, Value } from './rows.ts';

/** Thrown inwards only, for the retry around a transaction. */
export class Busy extends Error {
  override readonly name = 'Busy';
}

/** By its name, without opening it: a descriptor of ours that closes would drop SQLite's locks. */
function touch(path: string): void {
  try {
    const now = Date.now() / 1000;
    utimesSync(path, now, now);
  } catch {
    // Somebody else's file, or a catalog in memory: then nobody is woken, and they look at their next round.
  }
}

export type ConnectionOptions = {
  readonly readOnly: boolean;
  /** `alone`: locks everybody out, and needs no memory shared with them. `immutable`: on a filesystem that nobody can write. */
  readonly how?: 'shared' | 'alone' | 'immutable';
};

export class Connection {
  readonly path: string;
  readonly database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #inserts = new Map<string, { readonly names: readonly string[]; readonly sql: string }>();
  #writes = false;

  /** The file must exist (or the path be `:memory:`): SQLite is never let make it. */
  constructor(path: string, options: ConnectionOptions) {
    this.path = path;
    this.database = this.#open(path, options.how === 'immutable');
    try {
      if (options.how === 'alone') this.exec('PRAGMA locking_mode = EXCLUSIVE');
      // FULL: every commit is on the device when it returns. The checkpoint is left to one commit in some hundreds: the log
      // has as many pages by then as one table of SQLite's index of it holds (4,062), so looking a page up costs no more.
      this.exec(`PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;
        PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864; PRAGMA query_only = ${options.readOnly ? 1 : 0}`);
    } catch (error) {
      this.database.close();
      throw error;
    }
  }

  exec(sql: string): void {
    try {
      this.database.exec(sql);
    } catch (error) {
      this.#fail(error);
    }
  }

  get(sql: string, ...values: Value[]): Row | undefined {
    try {
      return this.#statement(sql).get(...values) as Row | undefined;
    } catch (error) {
      return this.#fail(error);
    }
  }

  all(sql: string, ...values: Value[]): Row[] {
    try {
      return this.#statement(sql).all(...values) as Row[];
    } catch (error) {
      return this.#fail(error);
    }
  }

  /** One row after the other, for a caller who may stop before the last. */
  *each(sql: string, ...values: Value[]): Generator<Row, void> {
    const rows = this.#rows(sql, values);
    try {
      for (;;) {
        const next = this.#next(rows);
        if (next.done === true) return;
        yield next.value as Row;
      }
    } finally {
      rows.return?.();
    }
  }

  #rows(sql: string, values: readonly Value[]): Iterator<unknown> {
    try {
      return this.#statement(sql).iterate(...values);
    } catch (error) {
      return this.#fail(error);
    }
  }

  #next(rows: Iterator<unknown>): IteratorResult<unknown> {
    try {
      return rows.next();
    } catch (error) {
      return this.#fail(error);
    }
  }

  /** Number of rows changed. */
  run(sql: string, ...values: Value[]): number {
    try {
      return Number(this.#statement(sql).run(...values).changes);
    } catch (error) {
      return this.#fail(error);
    }
  }

  insert(table: string, columns: Columns): void {
    const names = Object.keys(columns);
    let known = this.#inserts.get(table);
    // The columns of a table are always the same, in one order: its statement is put together once.
    if (known === undefined || !same(known.names, names)) {
      known = { names, sql: `INSERT INTO ${table} (${names.join(', ')}) VALUES (${names.map(() => '?').join(', ')})` };
      this.#inserts.set(table, known);
    }
    this.run(known.sql, ...Object.values(columns));
  }

  /** Sets only what differs: SQLite rewrites every index whose column is named, changed or not. */
  update(table: string, key: string, before: Row, after: Columns): void {
    const changed: string[] = [];
    const values: Value[] = [];
    for (const name in after) {
      const value = after[name] ?? null;
      if (before[name] === value) continue;
      changed.push(name);
      values.push(value);
    }
    if (changed.length === 0) return;
    this.run(`UPDATE ${table} SET ${changed.join(' = ?, ')} = ? WHERE ${key} = ?`, ...values, after[key] ?? null);
  }

  begin(kind: 'BEGIN' | 'BEGIN IMMEDIATE'): void {
    this.run(kind);
    this.#writes = kind === 'BEGIN IMMEDIATE';
  }

  /**
   * Whoever watches the folder is woken once more after the commit: the write that wakes them comes before readers can see it.
   * By the shared memory beside the log, which nobody syncs: new times of the log would have to reach the device with the next commit.
   */
  commit(): void {
    this.run('COMMIT');
    if (this.#writes) touch(`${this.path}-shm`);
  }

  rollback(): void {
    // SQLite has rolled back by itself after some errors (a full disk).
    if (this.database.isOpen && this.database.isTransaction) this.run('ROLLBACK');
  }

  close(): void {
    this.#statements.clear();
    if (this.database.isOpen) this.database.close();
  }

  #statement(sql: string): StatementSync {
    const kept = this.#statements.get(sql);
    if (kept !== undefined) return kept;
    const made = this.database.prepare(sql);
    this.#statements.set(sql, made);
    return made;
  }

  #open(path: string, immutable: boolean): DatabaseSync {
    try {
      return new DatabaseSync(location(path, immutable), { timeout: 0, enableForeignKeyConstraints: true });
    } catch (error) {
      return this.#fail(error);
    }
  }

  #fail(error: unknown): never {
    if (isBusy(error)) throw new Busy(this.path, { cause: error });
    if (isNameTaken(error)) throw nameTaken(error);
    throw catalogError(error, this.path);
  }
}

const same = (a: readonly string[], b: readonly string[]): boolean => a.length === b.length && a.every((name, at) => name === b[at]);

function location(path: string, immutable: boolean): string | URL {
  if (path === ':memory:') return path;
  const url = pathToFileURL(path);
  url.searchParams.set('mode', immutable ? 'ro' : 'rw');
  if (immutable) url.searchParams.set('immutable', '1');
  return url;
}
