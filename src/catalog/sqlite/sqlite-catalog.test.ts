// What only the file can show: how it is made, whose version it is, and what happens when it is locked, damaged or cut off.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';

import { CATALOG_FILE } from '../../base/catalog-file.ts';
import { XvdError } from '../../base/error.ts';
import { wallMs } from '../../base/units.ts';
import type { Catalog } from '../catalog.ts';
import { addDiskOn, device, disk, fixedClock, hasCode, proved, run, seededRandom } from '../fixture.ts';
import { openSqliteCatalog } from './open.ts';
import type { SqliteCatalogOptions } from './open.ts';
import { SCHEMA_VERSION } from './schema.ts';

type Fixture = { readonly folder: string; readonly file: string; readonly open: (over?: Partial<SqliteCatalogOptions>) => Promise<Catalog> };

function onDisk(says: string, body: (fixture: Fixture) => Promise<void>): void {
  test(says, async () => {
    const parent = await mkdtemp(join(tmpdir(), 'xvd-sqlite-'));
    const folder = join(parent, 'state');
    const opened: Catalog[] = [];
    const open = async (over: Partial<SqliteCatalogOptions> = {}): Promise<Catalog> => {
      const catalog = await openSqliteCatalog({ folder, clock: fixedClock, random: seededRandom(3), create: true, ...over });
      opened.push(catalog);
      return catalog;
    };
    try {
      await body({ folder, file: join(folder, CATALOG_FILE), open });
    } finally {
      for (const catalog of opened) await catalog[Symbol.asyncDispose]();
      await rm(parent, { recursive: true });
    }
  });
}

const names = (catalog: Catalog): Promise<(string | null)[]> =>
  catalog.read(async (reader) => (await reader.disks({ which: 'all', now: wallMs(0) })).map((each) => each.name));
const add = (catalog: Catalog, name: string): Promise<unknown> => catalog.write((writer) => writer.addDisk(disk({ name })));

/** As another program would: the file is closed again at once. */
function meddle(file: string, sql: string): void {
  const database = new DatabaseSync(file);
  database.exec(sql);
  database.close();
}

onDisk('reading makes nothing; the first write makes the file, for its owner only', async ({ folder, file, open }) => {
  const catalog = await open({ create: false });
  assert.deepEqual([await names(catalog), await catalog.selfCheck(), await catalog.changeMark(), existsSync(folder)], [[], [], 0, false]);
  await add(catalog, 'a');
  assert.deepEqual(await names(catalog), ['a']);
  assert.deepEqual(
    [folder, file, `${file}-wal`, `${file}-shm`].map((path) => statSync(path).mode & 0o777),
    [0o700, 0o600, 0o600, 0o600],
  );
});

onDisk('a first write that fails leaves a catalog that still reads as empty', async ({ open }) => {
  const catalog = await open({ create: false });
  await assert.rejects(
    catalog.write(() => Promise.reject(new RangeError('no'))),
    RangeError,
  );
  assert.deepEqual(await catalog.read(async (reader) => [await reader.devices(), await reader.commitNumber()]), [[], 0]);
  await add(catalog, 'a');
  assert.deepEqual(await names(catalog), ['a']);
});

onDisk('what was written is there for the next process, and other catalogs of this one see it at once', async ({ open }) => {
  const first = await open();
  const second = await open();
  const mark = await second.changeMark();
  await add(first, 'a');
  assert.notEqual(await second.changeMark(), mark);
  assert.deepEqual(await names(second), ['a']);
  await first[Symbol.asyncDispose]();
  await second[Symbol.asyncDispose]();
  assert.deepEqual(await names(await open({ create: false })), ['a']);
});

onDisk('a newer version is refused untouched, also by a program that was running', async ({ file, open }) => {
  const running = await open();
  await add(running, 'a');
  meddle(file, 'PRAGMA user_version = 99');
  for (const attempt of [() => names(running), () => add(running, 'b'), () => running.selfCheck(), () => open({ create: false }), () => open()]) {
    await assert.rejects(attempt(), hasCode('CATALOG_NEWER', /version 99/));
  }
  await running[Symbol.asyncDispose]();
  const before = readFileSync(file);
  await assert.rejects(open(), hasCode('CATALOG_NEWER'));
  assert.deepEqual(readFileSync(file), before);
});

onDisk('an older version is brought forward, with a copy of the old one beside', async ({ folder, file, open }) => {
  const old = await open();
  await add(old, 'a');
  await old[Symbol.asyncDispose]();
  const schema = {
    version: SCHEMA_VERSION + 2,
    migrations: [
      { from: SCHEMA_VERSION + 1, sql: 'ALTER TABLE disk ADD COLUMN twice INTEGER' },
      { from: SCHEMA_VERSION, sql: 'ALTER TABLE disk ADD COLUMN once INTEGER' },
    ],
  };
  const fresh = await open({ create: false, schema });
  assert.deepEqual(await names(fresh), ['a']);
  await add(fresh, 'b');
  await proved(fresh);
  await assert.rejects(open(), hasCode('CATALOG_NEWER'));
  await fresh[Symbol.asyncDispose]();

  const copy = `${file}.version-${SCHEMA_VERSION}-commit-1`;
  assert.deepEqual((await readdir(folder)).toSorted(), [CATALOG_FILE, `${CATALOG_FILE}.version-${SCHEMA_VERSION}-commit-1`]);
  const database = new DatabaseSync(copy, { readOnly: true });
  assert.deepEqual(
    [database.prepare('SELECT name FROM disk').all().length, database.prepare('PRAGMA user_version').get()?.['user_version']],
    [1, SCHEMA_VERSION],
  );
  database.close();
});

/** Version 2 kept what a commit found of disks in a row of its own, always. */
const asVersion2 = `ALTER TABLE history ADD COLUMN device_commit INTEGER NOT NULL DEFAULT 0;
  INSERT INTO history (commit_number, next_event, before) SELECT commit_number, id + 1, before FROM event WHERE before IS NOT NULL;
  ALTER TABLE event DROP COLUMN before; ALTER TABLE event DROP COLUMN commit_number;
  ALTER TABLE meta ADD COLUMN clock_synchronised INTEGER; ALTER TABLE vbd DROP COLUMN delay; ALTER TABLE vbd DROP COLUMN faults; PRAGMA user_version = 2`;

onDisk('a catalog of version 1 gets what came since', async ({ file, open }) => {
  const old = await open();
  await add(old, 'a');
  await old[Symbol.asyncDispose]();
  meddle(file, `${asVersion2}; DROP TABLE intent; PRAGMA user_version = 1`);
  const fresh = await open();
  await add(fresh, 'b');
  assert.deepEqual(await names(fresh), ['a', 'b']);
  assert.deepEqual(await fresh.read((reader) => reader.intents()), []);
  await proved(fresh);
});

onDisk('what commits of version 2 found of disks is still told, together with what is found since', async ({ file, open }) => {
  const happened = { time: wallMs(1), type: 't', subject: 's', cause: 'c', data: {} };
  const old = await open();
  const first = await old.write(async (writer) => {
    await writer.addEvent(happened);
    return writer.addDisk(disk({ name: 'a' }));
  });
  await old[Symbol.asyncDispose]();
  meddle(file, asVersion2);
  const fresh = await open({ create: false });
  await fresh.write(async (writer) => {
    await writer.addEvent(happened);
    await writer.updateDisk({ ...first, name: 'b' });
  });
  const seen = await fresh.read((reader) => reader.history(1));
  assert.deepEqual(
    seen.map((entry) => [entry.nextEventId, entry.before]),
    [
      [3, [{ diskId: 1, disk: first }]],
      [2, [{ diskId: 1, disk: null }]],
    ],
  );
  assert.equal((await fresh.read((reader) => reader.events(0, 10))).length, 2);
  await proved(fresh);
  assert.equal(existsSync(`${file}.version-2-commit-1`), true);
});

onDisk('a migration that fails leaves the old catalog as it was', async ({ file, open }) => {
  const old = await open();
  await add(old, 'a');
  await old[Symbol.asyncDispose]();
  await assert.rejects(
    open({ schema: { version: SCHEMA_VERSION + 2, migrations: [{ from: SCHEMA_VERSION, sql: 'DROP TABLE event' }] } }),
    hasCode('CATALOG_DAMAGED', /no way/),
  );
  await assert.rejects(open({ schema: { version: SCHEMA_VERSION + 1, migrations: [{ from: SCHEMA_VERSION, sql: 'DROP TABLE event; SELECT nonsense' }] } }));
  const again = await open();
  assert.deepEqual(await names(again), ['a']);
  await proved(again);
  assert.equal(existsSync(`${file}.version-${SCHEMA_VERSION}-commit-1`), true);
});

onDisk('a file that is no database, or no catalog, is said to be damaged and left alone', async ({ folder, file, open }) => {
  await mkdir(folder);
  writeFileSync(file, 'this was never a catalog of anything. '.repeat(300));
  const before = readFileSync(file);
  for (const create of [true, false]) await assert.rejects(open({ create }), hasCode('CATALOG_DAMAGED'));
  assert.deepEqual(readFileSync(file), before);
  await rm(file);
  meddle(file, 'CREATE TABLE song (title)');
  await assert.rejects(open(), hasCode('CATALOG_DAMAGED', /no catalog of xvd/));
});

onDisk('flipped bytes give an error of their own or are named by the check: who owns what is never told wrong in silence', async ({ file, open }) => {
  const made = await open();
  await made.write(async (writer) => {
    await writer.addDevice(device());
    for (let id = 0; id < 99; id += 3) await addDiskOn(writer, [run(1, id, 1)], { name: `disk-${id}`, labels: { k: 'v' } });
  });
  await made[Symbol.asyncDispose]();
  const good = readFileSync(file);
  const answer = await account(open);
  const random = seededRandom(11);
  for (let round = 0; round < 100; round += 1) {
    // A whole sector, or one bit.
    const start = 512 * random.integer(good.length / 512);
    const bad = Buffer.from(good);
    if (round % 2 === 0) for (let at = start; at < start + 512; at += 1) bad[at] = (bad[at] ?? 0) ^ (1 + random.integer(255));
    else bad[start + (round % 512)] = (bad[start + (round % 512)] ?? 0) ^ (1 << random.integer(8));
    writeFileSync(file, bad);
    try {
      const seen = await account(open);
      if (seen.problems.length === 0) assert.deepEqual(seen, answer, `round ${round}`);
    } catch (error) {
      if (!(error instanceof XvdError)) throw error;
      assert.ok(['CATALOG_DAMAGED', 'CATALOG_NEWER'].includes(error.code), `round ${round}: ${error.code}: ${error.message}`);
    }
  }
  writeFileSync(file, good);
  await proved(await open());
});

async function account(open: Fixture['open']): Promise<{ readonly problems: readonly string[] } & Record<string, unknown>> {
  await using catalog = await open({ create: false });
  const runs = await catalog.read(async (reader) => {
    await reader.devices();
    await reader.disks({ which: 'living', now: wallMs(0), label: { key: 'k', value: 'v' } });
    return { owned: await reader.ownedRuns(), unowned: await reader.unownedRuns(1) };
  });
  return { ...runs, problems: await catalog.selfCheck() };
}

onDisk('a lock that lasts ends in an error, while reads go on; one that is let go is waited for', async ({ file, open }) => {
  let waits = 0;
  const holder = { database: null as DatabaseSync | null };
  const catalog = await open({ retry: { limitMs: 100, sleep: async () => void (waits += 1) } });
  const patient = await open({ retry: { sleep: async () => holder.database?.exec('ROLLBACK') } });
  await add(catalog, 'a');
  holder.database = new DatabaseSync(file);
  holder.database.exec('BEGIN IMMEDIATE');
  await assert.rejects(add(catalog, 'b'), hasCode('CATALOG_LOCKED', /100 ms/));
  assert.ok(waits > 10 && waits <= 100, `${waits} random intervals`);
  assert.deepEqual(await names(catalog), ['a']);
  await add(patient, 'c');
  holder.database.close();
  await add(catalog, 'd');
  assert.deepEqual(await names(catalog), ['a', 'c', 'd']);
});

onDisk('a backup is one state, complete in one file, and replaces nothing', async ({ folder, open }) => {
  const catalog = await open();
  await catalog.write(async (writer) => {
    for (let id = 0; id < 3_000; id += 1) await writer.addDisk(disk({ labels: { n: `${id}` } }));
  });
  const copy = join(folder, 'copy');
  const backup = catalog.backup(copy);
  await Promise.all([backup, ...Array.from({ length: 20 }, (_, id) => add(catalog, `late-${id}`))]);
  await assert.rejects(catalog.backup(copy), hasCode('VALUE_INVALID', /exists already/));
  await assert.rejects(catalog.backup(join(folder, 'nowhere', 'copy')), hasCode('FILE_NOT_FOUND'));
  assert.equal(statSync(copy).mode & 0o777, 0o600);
  assert.deepEqual(
    (await readdir(folder)).filter((name) => !name.startsWith(CATALOG_FILE)),
    ['copy'],
  );
  const database = new DatabaseSync(copy, { readOnly: true });
  const rows = database.prepare('SELECT (SELECT count(*) FROM disk) AS disks, commit_number AS number FROM meta').get();
  database.close();
  assert.equal(Number(rows?.['disks']), 3_000 + Number(rows?.['number']) - 1);
  assert.equal((await names(catalog)).length, 3_020);
});

onDisk('the check names what does not agree', async ({ file, open }) => {
  const catalog = await open();
  await catalog.write(async (writer) => {
    await writer.addDevice(device());
    await addDiskOn(writer, [run(1, 0, 10)], { labels: { k: 'v' } });
  });
  await proved(catalog);
  const found = async (sql: string, words: RegExp): Promise<void> => {
    meddle(file, sql);
    assert.match((await catalog.selfCheck()).join('\n'), words, sql);
  };
  await found('UPDATE run SET first_extent = 5', /no place, or two/);
  await found('UPDATE run SET first_extent = 0, count = 9', /not the sum of its runs/);
  await found('UPDATE run SET count = 10; UPDATE disk SET reachers = 1', /can reach a disk/);
  await found('UPDATE disk SET reachers = 0; DELETE FROM disk_label', /labels of a disk/);
  await found("INSERT INTO disk_label VALUES ('k', 'v', 1); UPDATE disk SET expires_at = 5", /span of disks/);
  await found('UPDATE disk SET expires_at = NULL; UPDATE unowned SET bytes = 1', /agree with its device/);
  await found('UPDATE unowned SET bytes = count * 67108864; UPDATE meta SET next_disk = 1', /given again/);
  meddle(file, 'UPDATE meta SET next_disk = 2');
  await proved(catalog);
});
