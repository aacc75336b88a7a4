// What the NBD data path costs in memory: VBDs that nobody is connected to, VBDs whose clients do nothing, and connections at
// work. Proportional memory (PSS), by /proc/PID/smaps_rollup; the bench stands for the daemon.
//
// Settings: VBDS (1000), SECONDS of each load (3), PARK_AFTER_MS (5000; as shipped it is a minute).

import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { limits } from '../src/base/limits.ts';
import { bytes, MIB } from '../src/base/units.ts';
import type { VbdPlan } from '../src/core/types.ts';
import { connectRaw, handshakeRaw } from '../src/datapath/nbd/fixture-client.ts';
import type { RawClient } from '../src/datapath/nbd/fixture-client.ts';
import { openNbdDataPath } from '../src/datapath/nbd/nbd-data-path.ts';
import type { NbdDataPath } from '../src/datapath/nbd/nbd-data-path.ts';
import { livingProcesses } from '../src/datapath/nbd/process-records.ts';
import { vbdFolder } from '../src/datapath/nbd/vbd-folder.ts';
import { openSyscalls } from '../src/host/syscalls.ts';
import { publish } from './report.ts';
import type { Cell, Goal } from './report.ts';

const run = promisify(execFile);
const env = process.env;
const vbds = Number(env['VBDS'] ?? 1000);
const seconds = Number(env['SECONDS'] ?? 3);
const parkAfterMs = Number(env['PARK_AFTER_MS'] ?? 5000);
const VBD_BYTES = 256 * MIB;
const CONNECTIONS = 8;
const AT_ONCE = 8;
/** Of the whole; MB and GB are what the goals say. */
const MB = 1e6;
const SAMPLE_MS = 100;

const folder = mkdtempSync(join(tmpdir(), 'xvd-memory-'));
const file = join(folder, 'data');

type Memory = { readonly pss: number; readonly own: number };

/** Bytes; null for a process that has ended. */
function memoryOf(pid: number | 'self'): Memory | null {
  try {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
    const of = (name: string): number => 1024 * Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);
    return { pss: of('Pss'), own: of('Private_Dirty') + of('Private_Clean') };
  } catch {
    return null;
  }
}

/** What the kernel has for processes besides: stacks, page tables, structures. */
function kernelBytes(): number {
  const text = readFileSync('/proc/meminfo', 'latin1');
  return 1024 * ['KernelStack', 'PageTables', 'SUnreclaim'].reduce((sum, name) => sum + Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0), 0);
}

const nameOf = (generation: number): string => `bench${generation}/xvda@${generation}`;

function planOf(generation: number, cache: VbdPlan['cache']): VbdPlan {
  const devices = [{ path: file, kind: 'file' as const, identity: { kind: 'path' as const, path: file }, sizeBytes: bytes(VBD_BYTES) }];
  const segments = [{ deviceIndex: 0, offsetBytes: bytes(0), lengthBytes: bytes(VBD_BYTES) }];
  return { generation, exportName: nameOf(generation), mode: 'w', sizeBytes: bytes(VBD_BYTES), blockBytes: 512, cache, devices, segments };
}

const open = (): NbdDataPath =>
  openNbdDataPath({
    runFolder: folder,
    connectionProgram: new URL('../dist/nbd-connection.cjs', import.meta.url).pathname,
    nodePath: process.execPath,
    spareProcesses: limits.nbdSpareProcesses,
    parkAfterMs,
    verify: async () => {},
    syscalls: openSyscalls(),
    log: (event, details) => console.error(event, details),
  });

const processesOf = (generation: number): number[] => livingProcesses(vbdFolder(folder, generation));
const pause = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));

/** Of its own, of a process that is only starting, or ending: what they share counts for more for the others then. A spare that waits has 10. */
const STARTED_BYTES = 6 * MB;

/** Of all connections, while all are at work. */
function atWork(): readonly Memory[] {
  const pids = processesOf(1);
  const memories = pids.flatMap((pid) => memoryOf(pid) ?? []);
  const stillThere = pids.every((pid) => (memoryOf(pid)?.own ?? 0) >= STARTED_BYTES);
  return memories.length === CONNECTIONS && stillThere && memories.every(({ own }) => own >= STARTED_BYTES) ? memories : [];
}

/** The most that one of several connections under a load took, and their mean. */
async function underLoad(dataPath: NbdDataPath, cache: 'none' | 'writeback', rw: string, bs: string): Promise<{ row: Cell[]; most: number }> {
  const endpoint = await dataPath.open(planOf(1, cache));
  if (endpoint.kind !== 'nbd') throw new Error('not an NBD endpoint');
  const args = ['--name=m', '--ioengine=nbd', `--uri=${endpoint.uri}`, '--thread', `--numjobs=${CONNECTIONS}`, `--rw=${rw}`, `--bs=${bs}`, '--iodepth=16'];
  let over = false;
  const load = run('fio', [...args, `--size=${VBD_BYTES}`, '--time_based', `--runtime=${seconds}`, '--norandommap'], { cwd: folder }).finally(
    () => (over = true),
  );
  const samples: Memory[] = [];
  while (!over) {
    await pause();
    samples.push(...atWork());
  }
  await load;
  await dataPath.close(1);
  if (samples.length === 0) throw new Error('the load was over before anything was measured');
  const [most, own] = [Math.max(...samples.map(({ pss }) => pss)), Math.max(...samples.map((one) => one.own))];
  return { row: [cache === 'none' ? 'direct' : 'cached', rw, bs, most / MB, own / MB], most };
}

type Idle = { readonly rows: Cell[][]; readonly total: number };

async function idle(dataPath: NbdDataPath): Promise<Idle> {
  const kernelBefore = kernelBytes();
  const before = memoryOf('self')?.pss ?? 0;
  const generations = Array.from({ length: vbds }, (_, index) => index + 2);
  const paths = new Map<number, string>();
  for (const generation of generations) {
    const endpoint = await dataPath.open(planOf(generation, 'writeback'));
    if (endpoint.kind === 'nbd') paths.set(generation, endpoint.socketPath);
  }
  const daemon = memoryOf('self')?.pss ?? 0;
  const clients: RawClient[] = [];
  for (let at = 0; at < generations.length; at += AT_ONCE) {
    const some = await Promise.all(
      generations.slice(at, at + AT_ONCE).map(async (generation) => {
        const client = await connectRaw(paths.get(generation) ?? '');
        await handshakeRaw(client, nameOf(generation));
        return client;
      }),
    );
    clients.push(...some);
  }
  const pids = generations.flatMap(processesOf);
  const isParked = (pid: number): boolean => readFileSync(`/proc/${pid}/comm`, 'latin1') === 'bash\n';
  while (!pids.every(isParked)) await pause();
  const connections = pids.reduce((sum, pid) => sum + (memoryOf(pid)?.pss ?? 0), 0);
  const kernel = Math.max(0, kernelBytes() - kernelBefore);
  for (const client of clients) client.end();
  for (const generation of generations) await dataPath.close(generation);
  const rows: Cell[][] = [
    ['the daemon, with nothing attached', before / MB],
    [`${vbds} VBDs that nobody is connected to, in the daemon`, (daemon - before) / MB],
    [`${pids.length} connections, parked`, connections / MB],
    ['one of them', connections / pids.length / MB],
    ['the kernel’s part of it all, by /proc/meminfo (others on the machine count too)', kernel / MB],
  ];
  return { rows, total: daemon + connections + kernel };
}

async function main(): Promise<void> {
  writeFileSync(file, '');
  truncateSync(file, VBD_BYTES);
  const dataPath = open();
  try {
    const loads: Cell[][] = [];
    let most = 0;
    for (const cache of ['writeback', 'none'] as const)
      for (const rw of ['randread', 'randwrite'])
        for (const bs of ['4k', '256k', '1m', '8m']) {
          const { row, most: here } = await underLoad(dataPath, cache, rw, bs);
          console.log(row.join('  '));
          loads.push(row);
          most = Math.max(most, here);
        }
    const { rows, total } = await idle(dataPath);
    const goals: Goal[] = [
      { name: `${CONNECTIONS} connections at work, the one that takes most, MB`, value: most / MB, atMost: 20 },
      { name: `${vbds} idle VBDs with their daemon and the kernel's part, GB`, value: total / 1e9, atMost: 2 },
    ];
    const about = `Proportional memory (PSS). At work: ${CONNECTIONS} connections of fio with 16 requests in flight each, beside ${limits.nbdSpareProcesses} spare processes; the most that one of them had in ${seconds} s. Idle: ${vbds} VBDs, each with a client that does nothing, when all are parked (here after ${parkAfterMs} ms).`;
    const tables = [
      { columns: ['data', 'load', 'request', 'PSS, MB', 'of its own, MB'], rows: loads },
      { columns: ['idle', 'MB'], rows },
    ];
    publish({ name: 'memory', title: 'Memory of the NBD data path', about, tables, goals }, { keep: env['VBDS'] === undefined });
  } finally {
    await dataPath[Symbol.asyncDispose]();
    for (const generation of await dataPath.list()) await dataPath.close(generation);
    rmSync(folder, { recursive: true });
  }
}

await main();
