// xvd's NBD server beside nbdkit's file plugin and qemu-nbd, by fio's nbd engine on one file: all three in each round, one
// after another, medians over the rounds. xvd's disk is the same file cut into runs out of order.
//
// Settings: ROUNDS (5), SECONDS (2), SIZE_MIB (512), and for a part of it, which is not kept, CASES (words of the names below, comma separated), MODES (cached,cold,direct).

import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, existsSync, fsyncSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { bytes, MIB } from '../src/base/units.ts';
import type { VbdPlan } from '../src/core/types.ts';
import { openNbdDataPath } from '../src/datapath/nbd/nbd-data-path.ts';
import { openSyscalls } from '../src/host/syscalls.ts';
import { median, publish } from './report.ts';
import type { Cell, Goal } from './report.ts';

const run = promisify(execFile);
const env = process.env;
const rounds = Number(env['ROUNDS'] ?? 5);
const seconds = Number(env['SECONDS'] ?? 2);
const size = Number(env['SIZE_MIB'] ?? 512) * MIB;
const modes = (env['MODES'] ?? 'cached,cold,direct').split(',');
const RUN_BYTES = 8 * MIB;

type Case = {
  readonly name: string;
  readonly mode: 'cached' | 'cold' | 'direct';
  readonly fio: readonly string[] | 'copy-out' | 'copy-in';
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
    { name: 'nbdcopy out, 4 connections', mode: 'cached', fio: 'copy-out', goal: 1 },
    { name: 'nbdcopy in, 4 connections', mode: 'cached', fio: 'copy-in', goal: 1 },
    { name: 'random read 4 KiB depth 32', mode: 'cold', fio: random('read', 32), goal: 1 },
    { name: 'sequential read 256 KiB', mode: 'cold', fio: sequential('read'), goal: 1 },
    { name: 'random read 4 KiB depth 1', mode: 'direct', fio: random('read', 1), goal: 1 },
    { name: 'random read 4 KiB depth 32', mode: 'direct', fio: random('read', 32), goal: 1 },
    { name: 'random write 4 KiB depth 32', mode: 'direct', fio: random('write', 32), goal: 1 },
    { name: 'sequential read 256 KiB', mode: 'direct', fio: sequential('read'), goal: 1 },
    { name: 'sequential write 256 KiB', mode: 'direct', fio: sequential('write'), goal: 1 },
  ] as const
).filter(({ name, mode }) => modes.includes(mode) && (env['CASES'] ?? '').split(',').some((word) => name.includes(word)));

type Server = { readonly name: string; readonly uri: string; stop(): Promise<void> };
type Figure = { readonly speed: number; readonly p99: number; readonly p999: number };

const folder = mkdtempSync(join(tmpdir(), 'xvd-bench-'));
const file = join(folder, 'data');

function fill(): void {
  const chunk = Buffer.alloc(MIB);
  for (let at = 0; at < chunk.length; at += 4) chunk.writeUInt32LE((at * 2654435761) >>> 0, at);
  const fd = openSync(file, 'w');
  for (let at = 0; at < size; at += MIB) writeSync(fd, chunk);
  fsyncSync(fd);
  closeSync(fd);
}

async function startXvd(path: string, cache: 'none' | 'writeback'): Promise<Server> {
  const count = size / RUN_BYTES;
  // 5 is prime to a power of two: every run is visited once, none beside its neighbour.
  const order = Array.from({ length: count }, (_, index) => (index * 5 + 3) % count);
  const plan: VbdPlan = {
    generation: 1,
    exportName: 'bench/xvda@1',
    mode: 'w',
    sizeBytes: bytes(size),
    blockBytes: 512,
    cache,
    devices: [{ path, kind: 'file', identity: { kind: 'path', path }, sizeBytes: bytes(size) }],
    segments: order.map((index) => ({ deviceIndex: 0, offsetBytes: bytes(index * RUN_BYTES), lengthBytes: bytes(RUN_BYTES) })),
  };
  // The built program, as it is shipped: `make bench` builds it first.
  const connectionProgram = ['cjs', 'js'].map((kind) => new URL(`../dist/nbd-connection.${kind}`, import.meta.url).pathname).find(existsSync) ?? '';
  const dataPath = openNbdDataPath({
    runFolder: folder,
    connectionProgram,
    nodePath: process.execPath,
    verify: async () => {},
    syscalls: openSyscalls(),
    spareProcesses: 4,
    log: () => {},
  });
  const endpoint = await dataPath.open(plan);
  if (endpoint.kind !== 'nbd') throw new Error('not an NBD endpoint');
  return {
    name: 'xvd',
    uri: endpoint.uri,
    async stop() {
      await dataPath.close(1);
      await dataPath[Symbol.asyncDispose]();
    },
  };
}

async function startRival(name: string, program: string, args: (socket: string) => readonly string[]): Promise<Server> {
  const socket = join(folder, `${name}.sock`);
  const child: ChildProcess = spawn(program, args(socket), { stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  while (!existsSync(socket) && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 5));
  return {
    name,
    uri: `nbd+unix:///?socket=${socket}`,
    async stop() {
      child.kill('SIGTERM');
      await ended;
      rmSync(socket, { force: true });
    },
  };
}

const starts: Readonly<Record<Case['mode'], readonly ((path: string) => Promise<Server>)[]>> = (() => {
  const nbdkit = (path: string) => startRival('nbdkit', 'nbdkit', (socket) => ['--foreground', '--unix', socket, 'file', path]);
  const qemu = (path: string, ...more: string[]) =>
    startRival('qemu-nbd', 'qemu-nbd', (socket) => ['--socket', socket, '--format=raw', '--persistent', '--shared=8', ...more, path]);
  const cached = [(path: string) => startXvd(path, 'writeback'), nbdkit, (path: string) => qemu(path)];
  return { cached, cold: cached, direct: [(path: string) => startXvd(path, 'none'), (path: string) => qemu(path, '--cache=none', '--aio=io_uring')] };
})();

type FioSide = { readonly iops: number; readonly bw_bytes: number; readonly clat_ns: { readonly percentile?: Readonly<Record<string, number>> } };

async function measure(one: Case, server: Server): Promise<Figure> {
  if (typeof one.fio === 'string') {
    const target = join(folder, 'copy');
    const ends = one.fio === 'copy-out' ? [server.uri, 'null:'] : [file, server.uri];
    if (one.fio === 'copy-in' && !existsSync(target)) await run('cp', ['--reflink=never', file, target]);
    const began = process.hrtime.bigint();
    await run('nbdcopy', ['--connections=4', ...(one.fio === 'copy-in' ? [target, server.uri] : ends)]);
    return { speed: (size / Number(process.hrtime.bigint() - began)) * 1000, p99: 0, p999: 0 };
  }
  const args = [
    '--name=b',
    '--ioengine=nbd',
    `--uri=${server.uri}`,
    `--size=${size}`,
    ...one.fio,
    '--time_based',
    `--runtime=${seconds}`,
    '--randrepeat=0',
    '--norandommap',
    '--output-format=json',
  ];
  const { stdout } = await run('fio', args, { cwd: folder, maxBuffer: 64 * MIB });
  const job = (JSON.parse(stdout.slice(stdout.indexOf('{'))) as { jobs: { read: FioSide; write: FioSide }[] }).jobs[0];
  if (job === undefined) throw new Error('fio tells of no job');
  const side = job.read.iops > 0 ? job.read : job.write;
  const percentile = side.clat_ns.percentile ?? {};
  return {
    speed: one.fio.includes('--bs=4k') ? side.iops / 1000 : side.bw_bytes / 1e6,
    p99: (percentile['99.000000'] ?? 0) / 1000,
    p999: (percentile['99.900000'] ?? 0) / 1000,
  };
}

/** Waits until no process that was started here uses the processors any more: what is measured is a server that has started. */
async function started(): Promise<void> {
  for (let before = -1, now = ticks(); now !== before; now = ticks()) {
    before = now;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** Hundredths of a second of all processes that name a program or socket of ours. */
function ticks(): number {
  let sum = 0;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (!/nbd-connection|nbdkit|qemu-nbd/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8'))) continue;
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      sum += Number(fields[11]) + Number(fields[12]);
    } catch {
      // It has ended.
    }
  }
  return sum;
}

/** Drops what the host has cached of the file. */
const dropCache = (): Promise<unknown> => run('dd', [`of=${file}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0', 'status=none']);
const warmCache = (): Promise<unknown> => run('dd', [`if=${file}`, 'of=/dev/null', 'bs=1M', 'status=none']);

/** Each is first as often as the others. */
const rotated = <T>(list: readonly T[], by: number): readonly T[] => list.map((_, index) => list[(index + by) % list.length] as T);

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
    typeof one.fio === 'string' ? NONE : servers.map((name) => (figures.has(name) ? of(name, pick).toFixed(0) : NONE)).join(' / ');
  return { row: [one.name, one.mode, unitOf(one), ...speeds, ratio, late(({ p99 }) => p99), late(({ p999 }) => p999)], ratio };
}

const NONE = '–';
const servers = ['xvd', 'nbdkit', 'qemu-nbd'];
const unitOf = ({ fio }: Case): 'kIOPS' | 'MB/s' => (typeof fio === 'string' || fio.includes('--bs=256k') ? 'MB/s' : 'kIOPS');
const columns = ['case', 'data', 'unit', ...servers, 'xvd / the better', 'p99 µs', 'p99.9 µs'];

async function main(): Promise<void> {
  fill();
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
