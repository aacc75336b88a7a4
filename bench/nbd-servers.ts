// The servers that benchmarks compare: xvd's own, nbdkit's file plugin and qemu-nbd, each on one file or device.

import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { bytes, MIB } from '../src/base/units.ts';
import type { VbdPlan } from '../src/core/types.ts';
import { openNbdDataPath } from '../src/datapath/nbd/nbd-data-path.ts';
import { openSyscalls } from '../src/host/syscalls.ts';

const run = promisify(execFile);

/** xvd's disk is cut into runs of so much. */
export const RUN_BYTES = 8 * MIB;

export type Server = { readonly name: string; readonly uri: string; stop(): Promise<void> };
export type Start = (path: string) => Promise<Server>;
/** Where sockets go, and how much of the file or device xvd's disk is, from its start. */
export type Served = { readonly folder: string; readonly sizeBytes: number };

/** A file without holes or zeros. */
export function fillFile(file: string, size: number): void {
  const chunk = Buffer.alloc(MIB);
  for (let at = 0; at < chunk.length; at += 4) chunk.writeUInt32LE((at * 2654435761) >>> 0, at);
  const fd = openSync(file, 'w');
  for (let at = 0; at < size; at += MIB) writeSync(fd, chunk);
  fsyncSync(fd);
  closeSync(fd);
}

async function startXvd({ folder, sizeBytes }: Served, path: string, cache: 'none' | 'writeback'): Promise<Server> {
  const count = sizeBytes / RUN_BYTES;
  // 5 is prime to a power of two: every run is visited once, none beside its neighbour.
  const order = Array.from({ length: count }, (_, index) => (index * 5 + 3) % count);
  const plan: VbdPlan = {
    generation: 1,
    exportName: 'bench/xvda@1',
    mode: 'w',
    sizeBytes: bytes(sizeBytes),
    blockBytes: 512,
    cache,
    devices: [{ path, kind: 'file', identity: { kind: 'path', path }, sizeBytes: bytes(sizeBytes) }],
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

async function startRival(folder: string, name: string, program: string, args: (socket: string) => readonly string[]): Promise<Server> {
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

const nbdkitOn =
  (folder: string): Start =>
  (path) =>
    startRival(folder, 'nbdkit', 'nbdkit', (socket) => ['--foreground', '--unix', socket, 'file', path]);

const qemuOn =
  (folder: string, ...more: readonly string[]): Start =>
  (path) =>
    startRival(folder, 'qemu-nbd', 'qemu-nbd', (socket) => ['--socket', socket, '--format=raw', '--persistent', '--shared=8', ...more, path]);

/** Through the page cache. */
export const cachedServers = (served: Served): readonly Start[] => [
  (path) => startXvd(served, path, 'writeback'),
  nbdkitOn(served.folder),
  qemuOn(served.folder),
];

/** Around it, which nbdkit does not do. */
export const directServers = (served: Served): readonly Start[] => [
  (path) => startXvd(served, path, 'none'),
  qemuOn(served.folder, '--cache=none', '--aio=io_uring'),
];

/** What fio's nbd engine tells of one job on the first `sizeBytes` of a server. */
export async function fioJob<Job>({ folder, sizeBytes }: Served, server: Server, seconds: number, words: readonly string[]): Promise<Job> {
  const fixed = ['--name=b', '--ioengine=nbd', `--uri=${server.uri}`, `--size=${sizeBytes}`, '--time_based', `--runtime=${seconds}`];
  const { stdout } = await run('fio', [...fixed, ...words, '--randrepeat=0', '--norandommap', '--output-format=json'], { cwd: folder, maxBuffer: 64 * MIB });
  const [job] = (JSON.parse(stdout.slice(stdout.indexOf('{'))) as { readonly jobs: readonly Job[] }).jobs;
  if (job === undefined) throw new Error('fio tells of no job');
  return job;
}

/** Each is first as often as the others. */
export const rotated = <T>(list: readonly T[], by: number): readonly T[] => list.map((_, index) => list[(index + by) % list.length] as T);

/** Waits until no process that was started here uses the processors any more: what is measured is a server that has started. */
export async function started(): Promise<void> {
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
