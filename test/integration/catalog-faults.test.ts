// The built command on a catalog that is in trouble: each kind of trouble has its own error and exit status, what can be read is
// read, and nothing is lost once the trouble is over.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import type { TestContext } from 'node:test';

import { labelWriters } from '../label-writers.ts';
import { until } from '../until.ts';
import { builtXvd } from './built-xvd.ts';
import type { BuiltXvd } from './built-xvd.ts';

const FLIPS = 12;

type Row = Record<string, unknown>;
type Step = { readonly status: number; readonly value: unknown; readonly code: string | undefined };

const catalogOf = (xvd: BuiltXvd): string => join(xvd.environment['XVD_STATE'] ?? '', 'catalog.sqlite');

async function withDisks(t: TestContext): Promise<BuiltXvd> {
  const xvd = builtXvd(t);
  await xvd.json('format', xvd.pool, '--extent-size', '1M');
  for (const name of ['a', 'b', 'c']) await xvd.json('create', '4M', '--name', name, '--label', `of=${name}`);
  await xvd.json('delete', 'b');
  // The process that writes them goes on behind the command, and a catalog that is put back meanwhile is older than they are.
  await until('the labels are written', () => labelWriters(xvd.folder).length === 0);
  return xvd;
}

/** The state folder on a tmpfs of 3 MiB, in a mount namespace of its own; `$SMALL` is where it is. One step for each `run WORDS`. */
async function onSmallFilesystem(xvd: BuiltXvd, script: string): Promise<Step[]> {
  const small = join(xvd.folder, 'small');
  mkdirSync(small);
  const namespace = process.getuid?.() === 0 ? ['--mount'] : ['--user', '--map-root-user', '--mount'];
  const run = 'run() { "$BIN" "$@" --json; echo "status $?"; }\nmount -t tmpfs -o size=3m none "$SMALL"\n';
  const environment = { ...xvd.environment, XVD_STATE: join(small, 'state'), SMALL: small, BIN: resolve(import.meta.dirname, '../../bin/xvd'), POOL: xvd.pool };
  const child = spawn('unshare', [...namespace, 'sh', '-c', run + script], { env: environment, stdio: ['ignore', 'pipe', 'inherit'] });
  const said = (await text(child.stdout)).split(/^status (\d+)\n/m).slice(0, -1);
  return said.flatMap((out, index) => {
    if (index % 2 === 1) return [];
    const value = JSON.parse(out) as unknown;
    return [{ status: Number(said[index + 1]), value, code: (value as { error?: { code: string } }).error?.code }];
  });
}

const names = (step: Step | undefined): unknown[] => ((step?.value ?? []) as Row[]).map(({ name }) => name);

test('on a full filesystem what changes the catalog says so, what reads it goes on, and nothing is lost', async (t) => {
  const steps = await onSmallFilesystem(
    builtXvd(t),
    `run format "$POOL" --extent-size 1M
run create 1M --name before
dd if=/dev/zero of="$SMALL/ballast" bs=4096 2>/dev/null
run create 1M; run delete before; run backup "$SMALL/copy"
run list; run check
ls "$SMALL" | grep -c copy >/dev/null && exit 1
rm "$SMALL/ballast"
run create 1M --name after; run list; run check`,
  );
  assert.deepEqual(
    steps.map(({ status, code }) => code ?? status),
    [0, 0, 'CATALOG_DISK_FULL', 'CATALOG_DISK_FULL', 'CATALOG_DISK_FULL', 0, 0, 0, 0, 0],
  );
  assert.deepEqual(
    [2, 3, 4].map((index) => steps[index]?.status),
    [5, 5, 5],
  );
  assert.deepEqual([names(steps[5]), names(steps[8]), steps[9]?.value], [['before'], ['before', 'after'], { problems: [] }]);
});

test('on a read-only filesystem the catalog is read and copied; what would change it says why not', async (t) => {
  const steps = await onSmallFilesystem(
    builtXvd(t),
    `run format "$POOL" --extent-size 1M
run create 1M --name before
mount -o remount,ro "$SMALL"
run list; run show before; run check; run backup "$SMALL/../copy"
run create 1M; run delete before; run format "$POOL"; run serve
mount -o remount,rw "$SMALL"
run create 1M --name after; run check`,
  );
  assert.deepEqual(
    steps.map(({ status, code }) => code ?? status),
    [0, 0, 0, 0, 0, 0, 'NOT_PERMITTED', 'NOT_PERMITTED', 'NOT_PERMITTED', 'NOT_PERMITTED', 0, 0],
  );
  assert.deepEqual(
    [6, 7, 8, 9].map((index) => steps[index]?.status),
    [8, 8, 8, 8],
  );
  assert.deepEqual([names(steps[2]), steps[4]?.value, steps[11]?.value], [['before'], { problems: [] }, { problems: [] }]);
});

test('a flipped byte is told by check, or the disks lie where they lay: whichever byte it is, no command breaks', async (t) => {
  const xvd = await withDisks(t);
  const catalog = catalogOf(xvd);
  const good = readFileSync(catalog);
  const places = async (): Promise<unknown> => {
    const shown = await Promise.all(['vd:1', 'vd:3'].map((disk) => xvd.json<Row[]>('extents', disk)));
    return shown.map((rows) => rows.map(({ device, startSector }) => [device, startSector]));
  };
  const before = await places();
  const list = (await xvd.run('list', '--all', '--json')).out;
  let told = 0;
  for (let flip = 0; flip < FLIPS; flip += 1) {
    const bad = Buffer.from(good);
    const at = Math.floor(((flip + 0.5) * good.length) / FLIPS) + (flip % 7);
    bad[at] = (bad[at] ?? 0) ^ (1 << (flip % 8));
    restore(catalog, bad);
    const { status, out, err } = await xvd.run('check', '--json');
    assert.ok(status === 0 || status === 9, `byte ${at}: ${status} ${out}${err}`);
    if (status === 9) told += 1;
    else assert.deepEqual(await places(), before, `byte ${at}`);
  }
  t.diagnostic(`${told} of ${FLIPS} told`);
  restore(catalog, good);
  assert.deepEqual(await xvd.json('check'), { problems: [] });
  assert.deepEqual([await places(), (await xvd.run('list', '--all', '--json')).out], [before, list]);
});

/** As a file that was copied back. */
function restore(catalog: string, data: Uint8Array): void {
  const folder = dirname(catalog);
  for (const name of readdirSync(folder).filter((each) => /-(wal|shm)$/.test(each))) rmSync(join(folder, name));
  writeFileSync(catalog, data);
}

test('a catalog of a newer version is refused by every command, and left as it is', async (t) => {
  const xvd = await withDisks(t);
  const setVersion = (version: number): number => {
    const database = new DatabaseSync(catalogOf(xvd));
    try {
      const { user_version: was } = database.prepare('PRAGMA user_version').get() as { user_version: number };
      database.exec(`PRAGMA user_version = ${version}`);
      return was;
    } finally {
      database.close();
    }
  };
  const present = setVersion(999);
  const data = readFileSync(catalogOf(xvd));
  for (const words of [['list'], ['create', '1M'], ['delete', 'a'], ['check', '--repair'], ['backup', join(xvd.folder, 'copy')], ['serve']])
    await xvd.refused(9, 'CATALOG_NEWER', ...words);
  assert.ok(readFileSync(catalogOf(xvd)).equals(data), 'untouched');
  setVersion(present);
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});

test('a catalog that another process keeps locked is waited for, then said to be; readers wait for no writer', async (t) => {
  const xvd = await withDisks(t);
  const held = new DatabaseSync(catalogOf(xvd));
  held.exec('BEGIN IMMEDIATE');
  const [read] = await Promise.all([
    xvd.json<Row[]>('list'),
    xvd.refused(6, 'CATALOG_LOCKED', 'create', '1M'),
    xvd.refused(6, 'CATALOG_LOCKED', 'delete', 'a'),
  ]);
  assert.equal(read.length, 2);
  held.exec('ROLLBACK');
  held.close();
  const alone = new DatabaseSync(catalogOf(xvd));
  alone.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  await Promise.all([xvd.refused(6, 'CATALOG_LOCKED', 'list'), xvd.refused(6, 'CATALOG_LOCKED', 'refresh', 'a')]);
  alone.exec('ROLLBACK');
  alone.close();
  assert.deepEqual(await xvd.json('check'), { problems: [] });
  assert.equal((await xvd.json<Row[]>('list')).length, 2);
});

test('a state or run folder that is a file is said to be one', async (t) => {
  const xvd = builtXvd(t);
  const file = join(xvd.folder, 'file');
  writeFileSync(file, '');
  for (const [variable, path] of [
    ['XVD_STATE', file],
    ['XVD_STATE', join(file, 'below')],
    ['XVD_RUN', file],
  ] as const) {
    const child = spawn(resolve(import.meta.dirname, '../../bin/xvd'), ['list', '--json'], {
      env: { ...xvd.environment, [variable]: path },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const said = JSON.parse(await text(child.stdout)) as { error: { code: string; message: string; fix: string } };
    assert.deepEqual([said.error.code, said.error.message, said.error.fix], ['VALUE_INVALID', `${file} is no folder`, `Set ${variable} to a folder.`]);
  }
});

test('a device that is gone, cut short or read-only: nothing is changed, and nothing lost', async (t) => {
  const xvd = await withDisks(t);
  const away = `${xvd.pool}.away`;
  renameSync(xvd.pool, away);
  await xvd.refused(3, 'DEVICE_NOT_FOUND', 'create', '8M');
  writeFileSync(xvd.pool, '');
  await xvd.refused(4, 'DEVICE_IDENTITY_MISMATCH', 'create', '8M');
  const checked = await xvd.run('check', '--json');
  assert.equal(checked.status, 9);
  renameSync(away, xvd.pool);
  assert.deepEqual(await xvd.json('check'), { problems: [] });
  assert.equal((await xvd.json<Row[]>('list')).length, 2);

  const other = join(xvd.folder, 'other.img');
  writeFileSync(other, '');
  truncateSync(other, 2 ** 24);
  const loop = execFileSync('losetup', ['--find', '--show', '--read-only', other], { encoding: 'utf8' }).trim();
  t.after(() => execFileSync('losetup', ['--detach', loop]));
  await xvd.refused(7, 'DEVICE_FAILED', 'format', loop, '--extent-size', '1M', '--force');
  assert.ok(
    readFileSync(other).every((byte) => byte === 0),
    'nothing was written',
  );
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});
