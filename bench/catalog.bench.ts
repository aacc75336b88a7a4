// The catalog of a pool of 1 PiB (16,000,000 extents, 1,000,000 disks, 3,000,000 runs) beside one of 1,000 disks. Each command is
// run in this process through its use case, in turn with one bare durable insert into another SQLite file on the same disk.
// `node bench/catalog.bench.ts [FOLDER]`: where the two files lie (a folder of its own there), else the system's folder for such.

import { spawnSync } from 'node:child_process';
import { randomInt, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

import { createDisk } from '../src/app/create-disk.ts';
import { deleteDisk } from '../src/app/delete-disk.ts';
import { extentsOf } from '../src/app/extents-of.ts';
import { listDisks } from '../src/app/list-disks.ts';
import { refreshDisk } from '../src/app/refresh-disk.ts';
import { restoreDisk } from '../src/app/restore-disk.ts';
import { showDisk } from '../src/app/show-disk.ts';
import type { CatalogSystem } from '../src/app/system.ts';
import type { Clock } from '../src/base/clock.ts';
import { MIB, wallMs } from '../src/base/units.ts';
import { buildPetabyte, isExpired } from '../src/catalog/sqlite/fixture-petabyte.ts';
import { openSqliteCatalog } from '../src/catalog/sqlite/open.ts';
import { median, publish, quantile } from './report.ts';
import type { Goal } from './report.ts';

const ROUNDS = 3000;
const WARM_UP = 20;
const SIZES = [1_000, 1_000_000];
const LIMITS = { median: 2, p99: 3, growth: 1.3, list: 3, rssMb: 300 };

const clock: Clock = {
  read: () => ({ wallMs: wallMs(Date.now()), bootId: 'bench', sinceBootMs: performance.timeOrigin + performance.now(), synchronised: true }),
};
const random = { uuid: () => randomUUID(), integer: (limit: number) => randomInt(limit) };

type Figures = { readonly medianMs: number; readonly p99Ms: number; readonly bareMedianMs: number; readonly bareP99Ms: number };
type Job = { readonly name: string; readonly run: (system: CatalogSystem, round: number) => Promise<unknown> };

/** The n-th of the disks of that kind, jumping about; each is used once. */
function pick(disks: number, expired: boolean): (round: number) => string {
  let at = 0;
  return () => {
    do at = (at + 611_953) % disks;
    while (at === 0 || isExpired(at) !== expired);
    return `vd:${at}`;
  };
}

function jobs(disks: number): readonly Job[] {
  const living = pick(disks, false);
  const expired = pick(disks, true);
  return [
    { name: 'create', run: (system, round) => createDisk(system, { sizeBytes: (1 + (round % 5)) * 64 * MIB, expiresInMs: 86_400_000 }) },
    { name: 'refresh', run: (system, round) => refreshDisk(system, { disk: living(round), expiresInMs: 172_800_000 + round }) },
    { name: 'show', run: (system, round) => showDisk(system, living(round)) },
    { name: 'extents', run: (system, round) => extentsOf(system, living(round)) },
    { name: 'delete', run: (system, round) => deleteDisk(system, { disk: living(round) }) },
    { name: 'restore', run: (system, round) => restoreDisk(system, { disk: expired(round), expiresInMs: 86_400_000 }) },
    { name: 'list', run: (system) => listDisks(system, { limit: 100 }) },
  ];
}

type Side = { readonly disks: number; readonly jobs: readonly Job[]; readonly system: CatalogSystem; readonly bare: () => void } & AsyncDisposable;

async function openSide(folder: string, disks: number): Promise<Side> {
  const database = new DatabaseSync(join(folder, 'bare.sqlite'));
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE bare (id INTEGER PRIMARY KEY, text TEXT)');
  const insert = database.prepare('INSERT INTO bare (text) VALUES (?)');
  const catalog = await openSqliteCatalog({ folder, clock, random, create: false });
  return {
    disks,
    jobs: jobs(disks),
    // Nothing here may need the host: these are commands on the catalog alone.
    system: { catalog, clock, random, host: {} } as CatalogSystem,
    bare: () => void insert.run('one row'),
    async [Symbol.asyncDispose]() {
      await catalog[Symbol.asyncDispose]();
      database.close();
    },
  };
}

type Times = { readonly took: number[]; readonly bare: number[] };

async function measureRound({ jobs: all, system, bare }: Side, index: number, round: number, times: Times | null): Promise<void> {
  const start = performance.now();
  await all[index]?.run(system, round);
  const between = performance.now();
  bare();
  const end = performance.now();
  times?.took.push(between - start);
  times?.bare.push(end - between);
}

const figuresOf = ({ took, bare }: Times): Figures => ({
  medianMs: median(took),
  p99Ms: quantile(took, 0.99),
  bareMedianMs: median(bare),
  bareP99Ms: quantile(bare, 0.99),
});

/** The rounds on fewer disks, of which there are fewer, lie evenly between the others: what else the machine does meets both. */
async function measureJob(sides: readonly Side[], index: number): Promise<readonly Figures[]> {
  const times = sides.map((): Times => ({ took: [], bare: [] }));
  for (let round = -WARM_UP; round < ROUNDS; round += 1) {
    for (const [at, side] of sides.entries()) {
      const every = Math.ceil(ROUNDS / Math.min(ROUNDS, side.disks / 10 - 30));
      // The first rounds prepare statements and warm up the compiler.
      if (round < 0 || round % every === 0) await measureRound(side, index, round + WARM_UP, round < 0 ? null : (times[at] ?? null));
    }
  }
  return times.map(figuresOf);
}

async function measureAll(sides: readonly Side[]): Promise<readonly ReadonlyMap<string, Figures>[]> {
  const results = sides.map(() => new Map<string, Figures>());
  for (const [index, { name }] of (sides[0]?.jobs ?? []).entries()) {
    for (const [at, figures] of (await measureJob(sides, index)).entries()) results[at]?.set(name, figures);
  }
  return results;
}

function goalsOf(name: string, few: Figures, many: Figures): readonly Goal[] {
  const growth = { name: `${name}: 1,000,000 / 1,000 disks`, value: many.medianMs / few.medianMs, atMost: name === 'list' ? LIMITS.list : LIMITS.growth };
  if (name === 'list') return [growth];
  return [
    { name: `${name}: median / bare insert`, value: many.medianMs / many.bareMedianMs, atMost: LIMITS.median },
    { name: `${name}: 99th percentile / bare insert`, value: many.p99Ms / many.bareP99Ms, atMost: LIMITS.p99 },
    growth,
  ];
}

function tell(few: ReadonlyMap<string, Figures>, many: ReadonlyMap<string, Figures>): void {
  const both = [...many].flatMap(([name, figures]) => [{ name, figures, beside: few.get(name) ?? figures }]);
  publish({
    name: 'catalog',
    title: 'The catalog of a petabyte',
    about: `A pool of 1 PiB (16,000,000 extents of 64 MiB, 1,000,000 disks, 3,000,000 runs) beside the same pool with 1,000 disks. Each command through its use case in this process, in turn with one durable insert into another SQLite file on the same disk (write-ahead log, \`synchronous = FULL\`, as the catalog); ${ROUNDS} rounds, those with 1,000 disks evenly between.`,
    tables: [
      {
        columns: ['command', 'median ms', 'p99 ms', 'bare median', 'bare p99', 'median with 1,000 disks'],
        rows: both.map(({ name, figures, beside }) => [name, figures.medianMs, figures.p99Ms, figures.bareMedianMs, figures.bareP99Ms, beside.medianMs]),
      },
    ],
    goals: [
      ...both.flatMap(({ name, figures, beside }) => goalsOf(name, beside, figures)),
      { name: 'largest size of the process, MB', value: process.resourceUsage().maxRSS / 1024, atMost: LIMITS.rssMb },
    ],
  });
}

async function main(parent: string): Promise<void> {
  const folder = mkdtempSync(join(parent, 'xvd-bench-'));
  try {
    for (const disks of SIZES) {
      // In a process of its own, so that its memory does not count here.
      const { status } = spawnSync(process.execPath, [import.meta.filename, '--build', join(folder, String(disks)), String(disks)], { stdio: 'inherit' });
      if (status !== 0) throw new Error('the catalog could not be built');
    }
    await using opened = new AsyncDisposableStack();
    const sides: Side[] = [];
    for (const disks of SIZES) sides.push(opened.use(await openSide(join(folder, String(disks)), disks)));
    const [few = new Map<string, Figures>(), many = new Map<string, Figures>()] = await measureAll(sides);
    tell(few, many);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const [first, folder, disks] = process.argv.slice(2);
if (first === '--build') await buildPetabyte(folder ?? '', Number(disks), Date.now());
else await main(first ?? tmpdir());
