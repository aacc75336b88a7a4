// xvd's NBD server beside nbdkit's file plugin and qemu-nbd, by fio's nbd engine on one file: all three in each round, one
// after another, medians over the rounds. xvd's disk is the same file cut into runs out of order.
//
// Settings: ROUNDS (5), SECONDS (2), SIZE_MIB (512), and for a part of it, which is not kept, CASES (words of the names below, comma separated), MODES (cached,cold,direct).

import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { MIB } from '../src/base/units.ts';
import { cachedServers, directServers, fillFile, fioJob, rotated, RUN_BYTES, started } from './nbd-servers.ts';
import type { Server, Start } from './nbd-servers.ts';
import { median, publish } from './report.ts';
import type { Cell, Goal } from './report.ts';

const run = promisify(execFile);
const env = process.env;
const rounds = Number(env['ROUNDS'] ?? 5);
const seconds = Number(env['SECONDS'] ?? 2);
const size = Number(env['SIZE_MIB'] ?? 512) * MIB;
const modes = (env['MODES'] ?? 'cached,cold,direct').split(',');

type Copy = { readonly from: 'disk' | 'file'; readonly connections: readonly string[] };
/** nbdcopy makes no more connections than it has threads: by itself one for each processor, up to four. */
const FOUR = ['--connections=4', '--threads=4'];

type Case = {
  readonly name: string;
  readonly mode: 'cached' | 'cold' | 'direct';
  readonly fio: readonly string[] | Copy;
  readonly goal: number;
};
const random = (rw: string, depth: number): string[] => [`--rw=rand${rw}`, '--bs=4k', `--iodepth=${depth}`];
const sequential = (rw: string): string[] => [`--rw=${rw}`, '--bs=256k', '--iodepth=8'];
const cases: readonly Case[] = (
  [
    { name: 'random read 4 KiB depth 1', mode: 'cached', fio: random('read', 1), goal: 1.5 },
    { name: 'random read 4 KiB depth 32', mode: 'cached', fio: random('read', 32), goal: 1.4 },
    { name: 'random write 4 KiB depth 32', mode: 'cached', fio: random('write', 32), goal: 1.3 },
    { name: 'sequential read 256 KiB', mode: 'cached', fio: sequential('read'), goal: 1.3 },
    { name: 'sequential write 256 KiB', mode: 'cached', fio: sequential('write'), goal: 1.1 },
    { name: 'nbdcopy out, 4 connections', mode: 'cached', fio: { from: 'disk', connections: FOUR }, goal: 1 },
    { name: 'nbdcopy in, 4 connections', mode: 'cached', fio: { from: 'file', connections: FOUR }, goal: 1 },
    { name: 'nbdcopy out, as many connections as it makes by itself', mode: 'cached', fio: { from: 'disk', connections: [] }, goal: 1 },
    { name: 'nbdcopy in, as many connections as it makes by itself', mode: 'cached', fio: { from: 'file', connections: [] }, goal: 1 },
    { name: 'random read 4 KiB depth 32', mode: 'cold', fio: random('read', 32), goal: 1 },
    { name: 'sequential read 256 KiB', mode: 'cold', fio: sequential('read'), goal: 1 },
    { name: 'random read 4 KiB depth 1', mode: 'direct', fio: random('read', 1), goal: 1 },
    { name: 'random read 4 KiB depth 32', mode: 'direct', fio: random('read', 32), goal: 1 },
    { name: 'random write 4 KiB depth 32', mode: 'direct', fio: random('write', 32), goal: 1 },
    { name: 'sequential read 256 KiB', mode: 'direct', fio: sequential('read'), goal: 1 },
    { name: 'sequential write 256 KiB', mode: 'direct', fio: sequential('write'), goal: 1 },
  ] as const
).filter(({ name, mode }) => modes.includes(mode) && (env['CASES'] ?? '').split(',').some((word) => name.includes(word)));

type Figure = { readonly speed: number; readonly p99: number; readonly p999: number };

const folder = mkdtempSync(join(tmpdir(), 'xvd-bench-'));
const file = join(folder, 'data');

const served = { folder, sizeBytes: size };
const starts: Readonly<Record<Case['mode'], readonly Start[]>> = { cached: cachedServers(served), cold: cachedServers(served), direct: directServers(served) };

type FioSide = { readonly iops: number; readonly bw_bytes: number; readonly clat_ns: { readonly percentile?: Readonly<Record<string, number>> } };

async function measure(one: Case, server: Server): Promise<Figure> {
  if ('from' in one.fio) {
    const source = join(folder, 'copy');
    const ends = one.fio.from === 'disk' ? [server.uri, 'null:'] : [source, server.uri];
    if (one.fio.from === 'file' && !existsSync(source)) await run('cp', ['--reflink=never', file, source]);
    const began = process.hrtime.bigint();
    await run('nbdcopy', [...one.fio.connections, ...ends]);
    return { speed: (size / Number(process.hrtime.bigint() - began)) * 1000, p99: 0, p999: 0 };
  }
  const job = await fioJob<{ readonly read: FioSide; readonly write: FioSide }>(served, server, seconds, one.fio);
  const side = job.read.iops > 0 ? job.read : job.write;
  const percentile = side.clat_ns.percentile ?? {};
  return {
    speed: one.fio.includes('--bs=4k') ? side.iops / 1000 : side.bw_bytes / 1e6,
    p99: (percentile['99.000000'] ?? 0) / 1000,
    p999: (percentile['99.900000'] ?? 0) / 1000,
  };
}

/** Drops what the host has cached of the file. */
const dropCache = (): Promise<unknown> => run('dd', [`of=${file}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0', 'status=none']);
const warmCache = (): Promise<unknown> => run('dd', [`if=${file}`, 'of=/dev/null', 'bs=1M', 'status=none']);

type Result = { readonly row: readonly Cell[]; readonly ratio: number };

async function compare(one: Case, path: string): Promise<Result> {
  const figures = new Map<string, Figure[]>();
  for (let round = 0; round < rounds; round += 1) {
    for (const start of rotated(starts[one.mode], round)) {
      const server = await start(path);
      try {
        // What another server has written is not written back at this one's expense.
        await run('sync', ['--data', file]);
        await started();
        await (one.mode === 'cold' ? dropCache() : warmCache());
        figures.set(server.name, [...(figures.get(server.name) ?? []), await measure(one, server)]);
      } finally {
        await server.stop();
      }
    }
  }
  const of = (name: string, pick: (figure: Figure) => number): number => median((figures.get(name) ?? []).map(pick));
  const rivals = [...figures.keys()].filter((name) => name !== 'xvd');
  const ratio = of('xvd', ({ speed }) => speed) / Math.max(...rivals.map((name) => of(name, ({ speed }) => speed)));
  const digits = unitOf(one) === 'kIOPS' ? 1 : 0;
  const speeds = servers.map((name) => (figures.has(name) ? of(name, ({ speed }) => speed).toFixed(digits) : NONE));
  const late = (pick: (figure: Figure) => number): string =>
    'from' in one.fio ? NONE : servers.map((name) => (figures.has(name) ? of(name, pick).toFixed(0) : NONE)).join(' / ');
  return { row: [one.name, one.mode, unitOf(one), ...speeds, ratio, late(({ p99 }) => p99), late(({ p999 }) => p999)], ratio };
}

const NONE = '–';
const servers = ['xvd', 'nbdkit', 'qemu-nbd'];
const unitOf = ({ fio }: Case): 'kIOPS' | 'MB/s' => ('from' in fio || fio.includes('--bs=256k') ? 'MB/s' : 'kIOPS');
const columns = ['case', 'data', 'unit', ...servers, 'xvd / the better', 'p99 µs', 'p99.9 µs'];

async function main(): Promise<void> {
  fillFile(file, size);
  const loop = cases.some(({ mode }) => mode === 'direct') ? (await run('losetup', ['--find', '--show', '--direct-io=on', file])).stdout.trim() : null;
  const rows: Result['row'][] = [];
  const goals: Goal[] = [];
  try {
    for (const one of cases) {
      const { row, ratio } = await compare(one, one.mode === 'direct' ? (loop ?? file) : file);
      console.log(row.map((cell) => (typeof cell === 'number' ? cell.toFixed(2) : cell)).join('  '));
      rows.push(row);
      goals.push({ name: `${one.name}, ${one.mode}: xvd / the better rival`, value: ratio, atLeast: one.goal });
    }
  } finally {
    if (loop !== null) await run('losetup', ['--detach', loop]);
  }
  publish(
    {
      name: 'nbd',
      title: 'The NBD server beside nbdkit and qemu-nbd',
      about: `One file of ${size / MIB} MiB, served in turn by xvd (as a disk of ${size / RUN_BYTES} runs out of order), nbdkit's file plugin and qemu-nbd; direct: a loop device on it, without nbdkit. fio's nbd engine for ${seconds} s each, or nbdcopy of the whole; medians of ${rounds} rounds.`,
      tables: [{ columns, rows }],
      goals,
    },
    // A part of the cases is no result of the whole.
    { keep: env['CASES'] === undefined && env['MODES'] === undefined },
  );
}

try {
  await main();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
