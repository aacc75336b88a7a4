// The slowest of many requests, beside nbdkit's file plugin and qemu-nbd: reads and flushes, one at a time, alone and beside a
// neighbour who writes flat out to the same file or device, but elsewhere. All servers in each round, medians over the rounds.
//
// Settings: ROUNDS (5), SECONDS (8: of 2 s of flushes the 99.9th of 100 is the eighth slowest), SIZE_MIB (512: half for the disk, half for the neighbour).

import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { MIB } from '../src/base/units.ts';
import { cachedServers, directServers, fillFile, fioJob, rotated, started } from './nbd-servers.ts';
import type { Server, Start } from './nbd-servers.ts';
import { median, publish } from './report.ts';
import type { Cell, Goal } from './report.ts';

const run = promisify(execFile);
const env = process.env;
const rounds = Number(env['ROUNDS'] ?? 5);
const seconds = Number(env['SECONDS'] ?? 8);
const half = (Number(env['SIZE_MIB'] ?? 512) / 2) * MIB;
const MOST = 1.2;

type Case = { readonly name: string; readonly fio: readonly string[]; readonly of: 'read' | 'sync' };
const cases: readonly Case[] = [
  { name: 'read of 4 KiB', fio: ['--rw=randread', '--bs=4k', '--iodepth=1'], of: 'read' },
  { name: 'flush of a write of 4 KiB', fio: ['--rw=randwrite', '--bs=4k', '--iodepth=1', '--fsync=1'], of: 'sync' },
];

const folder = mkdtempSync(join(tmpdir(), 'xvd-bench-'));
const file = join(folder, 'data');
const served = { folder, sizeBytes: half };
const modes: Readonly<Record<'cached' | 'direct', readonly Start[]>> = {
  cached: cachedServers(served),
  direct: directServers(served),
};
const PERCENTILES = ['99.000000', '99.900000'] as const;

type Latency = { readonly percentile?: Readonly<Record<string, number>> };
type Job = { readonly read: { readonly clat_ns: Latency }; readonly sync: { readonly lat_ns: Latency } };

/** Microseconds that 99 and 99.9 of 100 do not pass. */
async function measure({ fio, of }: Case, server: Server): Promise<readonly number[]> {
  const job = await fioJob<Job>(served, server, seconds, fio);
  const { percentile = {} } = of === 'read' ? job.read.clat_ns : job.sync.lat_ns;
  return PERCENTILES.map((name) => (percentile[name] ?? NaN) / 1000);
}

/** Writes the other half until it is ended. */
async function neighbour(path: string, direct: boolean): Promise<AsyncDisposable> {
  const words = ['--rw=write', '--bs=1m', `--offset=${half}`, `--size=${half}`, '--time_based', '--runtime=3600', `--direct=${direct ? 1 : 0}`];
  const child: ChildProcess = spawn('fio', ['--name=n', '--ioengine=psync', `--filename=${path}`, '--allow_file_create=0', ...words], {
    cwd: folder,
    stdio: 'ignore',
  });
  await once(child, 'spawn');
  return {
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill();
      await once(child, 'exit');
    },
  };
}

async function compare(
  one: Case,
  mode: 'cached' | 'direct',
  path: string,
  beside: boolean,
): Promise<{ readonly row: readonly Cell[]; readonly goals: readonly Goal[] }> {
  const figures = new Map<string, (readonly number[])[]>();
  for (let round = 0; round < rounds; round += 1) {
    for (const start of rotated(modes[mode], round)) {
      const server = await start(path);
      try {
        await run('sync', ['--data', file]);
        await started();
        await using _ = beside ? await neighbour(path, mode === 'direct') : null;
        figures.set(server.name, [...(figures.get(server.name) ?? []), await measure(one, server)]);
      } finally {
        await server.stop();
      }
    }
  }
  const of = (name: string, at: number): number => median((figures.get(name) ?? []).map((values) => values[at] ?? NaN));
  const rivals = [...figures.keys()].filter((name) => name !== 'xvd');
  const ratio = (at: number): number => of('xvd', at) / Math.min(...rivals.map((name) => of(name, at)));
  const situation = `${one.name}, ${mode}, ${beside ? 'beside a neighbour' : 'alone'}`;
  const all = (at: number): string => ['xvd', 'nbdkit', 'qemu-nbd'].map((name) => (figures.has(name) ? of(name, at).toFixed(0) : '–')).join(' / ');
  return {
    row: [one.name, mode, beside ? 'beside a neighbour' : 'alone', all(0), ratio(0), all(1), ratio(1)],
    goals: ['99th', '99.9th'].map((name, at) => ({ name: `${situation}, ${name} percentile: xvd / the better rival`, value: ratio(at), atMost: MOST })),
  };
}

async function main(): Promise<void> {
  fillFile(file, 2 * half);
  const loop = (await run('losetup', ['--find', '--show', '--direct-io=on', file])).stdout.trim();
  const rows: (readonly Cell[])[] = [];
  const goals: Goal[] = [];
  try {
    for (const mode of ['cached', 'direct'] as const) {
      for (const one of cases) {
        for (const beside of [false, true]) {
          const result = await compare(one, mode, mode === 'direct' ? loop : file, beside);
          console.log(result.row.map((cell) => (typeof cell === 'number' ? cell.toFixed(2) : cell)).join('  '));
          rows.push(result.row);
          goals.push(...result.goals);
        }
      }
    }
  } finally {
    await run('losetup', ['--detach', loop]);
  }
  publish({
    name: 'latency',
    title: 'The slowest requests, alone and beside a neighbour',
    about: `One file of ${(2 * half) / MIB} MiB, of which half is served in turn by xvd, nbdkit's file plugin and qemu-nbd, one request at a time, and the other half is written flat out by a neighbour; direct: a loop device on it, without nbdkit. fio's nbd engine for ${seconds} s each; medians of ${rounds} rounds; microseconds of xvd / nbdkit / qemu-nbd.`,
    tables: [{ columns: ['request', 'data', 'situation', 'p99 µs', 'xvd / the better', 'p99.9 µs', 'xvd / the better'], rows }],
    goals,
  });
}

try {
  await main();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
