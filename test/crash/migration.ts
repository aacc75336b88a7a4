// A catalog of version 1 that is brought to the present version by whatever command comes first, and killed in that: what was in
// it is there afterwards, and a copy of the old one lies beside.

import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

import { bytes } from '../../src/base/units.ts';
import { encodeLabel, labelPlaces } from '../../src/core/label.ts';
import { endLabelWriters } from '../label-writers.ts';
import type { Command, Draw } from './commands.ts';
import { killDuring, mustRun } from './killing.ts';
import type { Tallies } from './killing.ts';
import { watchOwners } from './contents.ts';
import { openWorld } from './world.ts';
import type { World } from './world.ts';

const DISKS = [1, 2, 3, 4];
const first: readonly Command[] = [
  { kind: 'migrate by list', words: ['list'], again: [0] },
  { kind: 'migrate by create', words: ['create', '2M'], again: [0] },
  { kind: 'migrate by delete', words: ['delete', '2'], again: [0] },
  { kind: 'migrate by check', words: ['check', '--repair'], again: [0] },
];

export async function killMigrations(kills: number, draw: Draw, tallies: Tallies, name: string): Promise<void> {
  using world = openWorld('file');
  const owners = watchOwners(world);
  makeOldCatalog(world);
  for (const disk of DISKS) await owners.adopt(disk);
  for (let done = 0; done < kills;) {
    // Their labels would know more than the catalog that is put back.
    await endLabelWriters(world.stateFolder);
    rmSync(world.stateFolder, { recursive: true });
    rmSync(world.runFolder, { recursive: true, force: true });
    makeOldCatalog(world);
    const command = first[draw(first.length)] ?? first[0];
    assert.ok(command !== undefined);
    const when = `${name}, migration ${done}, xvd ${command.words.join(' ')}`;
    const { killed, status, out } = await killDuring(world, command, draw, tallies);
    if (killed) done += 1;
    else assert.equal(status, 0, `${when}: ${out}`);
    const next = first[draw(first.length)] ?? command;
    await mustRun(world, next.words, next.again, when);
    // A create that was killed is completed.
    await mustRun(world, ['check', '--repair'], [0], when);
    assert.deepEqual(JSON.parse((await mustRun(world, ['check'], [0], when)).out), { problems: [] }, when);
    proveCopy(world, when);
    const { disks } = await world.look();
    assert.deepEqual(
      disks.filter(({ disk }) => DISKS.includes(disk.id)).map(({ disk }) => [disk.id, disk.name, disk.labels]),
      kept,
      when,
    );
    // What the commands made is of no other round.
    await owners.prove(when, DISKS);
  }
}

const kept = [
  [1, 'first', { k: 'v' }],
  [2, 'second', {}],
  [3, null, {}],
  [4, 'third', {}],
];

function makeOldCatalog(world: World): void {
  mkdirSync(world.stateFolder, { recursive: true, mode: 0o700 });
  const database = new DatabaseSync(join(world.stateFolder, 'catalog.sqlite'));
  const text = readFileSync(join(import.meta.dirname, 'catalog-version-1.sql'), 'utf8');
  database.exec(`PRAGMA page_size = 1024; PRAGMA journal_mode = WAL; ${text.replaceAll('POOL', world.main)}`);
  const { uuid = '', size_bytes: size = 0 } = database.prepare('SELECT uuid, size_bytes FROM device').get() as { uuid?: string; size_bytes?: number };
  const { catalog_id: catalogId = '' } = database.prepare('SELECT catalog_id FROM meta').get() as { catalog_id?: string };
  database.close();
  const numbers = { sizeBytes: bytes(size), extentBytes: bytes(2 ** 20), dataStartBytes: bytes(2 ** 20), commitNumber: 0, highestDiskId: 0, writtenAtMs: 0 };
  const label = encodeLabel({ deviceUuid: uuid, catalogId, host: hostname(), pool: 'default', ...numbers });
  for (const offset of labelPlaces(bytes(size))) world.write({ file: world.main, offset, length: label.length }, label);
}

function proveCopy(world: World, when: string): void {
  const beside = readdirSync(world.stateFolder).filter((file) => file.includes('.version-'));
  assert.deepEqual(beside, ['catalog.sqlite.version-1-commit-12'], when);
  const copy = new DatabaseSync(join(world.stateFolder, beside[0] ?? ''), { readOnly: true });
  try {
    assert.deepEqual({ ...copy.prepare('PRAGMA user_version').get() }, { user_version: 1 }, when);
    assert.deepEqual({ ...copy.prepare('PRAGMA integrity_check').get() }, { integrity_check: 'ok' }, when);
    assert.equal(copy.prepare('SELECT id FROM disk').all().length, DISKS.length, when);
  } finally {
    copy.close();
  }
}
