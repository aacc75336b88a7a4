// A revoke of a VBD that has 1 GiB of dirty pages of its own, beside a neighbour on the same pool file that writes all the time: in
// turn with the mere writing back of as many dirty pages that came the same way. `node bench/revoke.bench.ts [FOLDER]`: where the pool lies.
// Settings: ROUNDS (5).

import { execFile, execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { attachVbd } from '../src/app/attach-vbd.ts';
import { createDisk } from '../src/app/create-disk.ts';
import { detachVbd } from '../src/app/detach-vbd.ts';
import { extentsOf } from '../src/app/extents-of.ts';
import { formatDevice } from '../src/app/format-device.ts';
import type { System } from '../src/app/system.ts';
import { MIB } from '../src/base/units.ts';
import { composeSystem } from '../src/daemon/compose.ts';
import { openSyscalls } from '../src/host/syscalls.ts';
import { median, publish } from './report.ts';

const ROUNDS = Number(process.env['ROUNDS'] ?? 5);
const OWN_MIB = 1024;
const NEIGHBOUR_MIB = 256;
const run = promisify(execFile);
const syscalls = openSyscalls();

type Bench = { readonly system: System; readonly pool: string };
type Range = { readonly offset: number; readonly length: number };

const fioWords = (uri: string, sizeMib: number, ...more: readonly string[]): string[] =>
  ['--name=b', '--ioengine=nbd', `--uri=${uri}`, '--rw=write', '--bs=1m', '--iodepth=4', `--size=${sizeMib}m`, '--output-format=terse', ...more]; // prettier-ignore

async function attach({ system }: Bench, name: string): Promise<string> {
  const vbd = await attachVbd(system, { source: `vd:${name}`, target: 'xvda', domain: name, mode: 'w', driver: 'nbd', cache: 'writeback', expert: 2 });
  return vbd.uri ?? '';
}

/** Attaches the VBD and writes it whole. */
async function dirty(bench: Bench, folder: string): Promise<void> {
  await run('fio', fioWords(await attach(bench, 'own'), OWN_MIB), { cwd: folder });
}

const detach = ({ system }: Bench): Promise<unknown> => detachVbd(system, { target: 'xvda', domain: 'own', force: true });

/** Milliseconds of a revoke whose VBD was just written whole. */
async function revoke(bench: Bench, folder: string): Promise<number> {
  await dirty(bench, folder);
  const began = performance.now();
  await detach(bench);
  return performance.now() - began;
}

/** Milliseconds of the same pages' way to the device, written by the same client: how fast they go depends on how they came (in writes of what size). */
async function writeBack(bench: Bench, folder: string, ranges: readonly Range[]): Promise<number> {
  await dirty(bench, folder);
  const fd = openSync(bench.pool, 'r+');
  try {
    const began = performance.now();
    for (const { offset, length } of ranges)
      if ((await syscalls?.inBackground.syncRange(fd, offset, length)) !== 0) throw new Error(`bytes ${offset}+${length} were not written back`);
    return performance.now() - began;
  } finally {
    closeSync(fd);
    await detach(bench);
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill();
  await once(child, 'exit');
}

async function measure(folder: string): Promise<{ readonly revokes: readonly number[]; readonly bare: readonly number[] }> {
  await using stack = new AsyncDisposableStack();
  const pool = join(folder, 'pool');
  // Whole, so that nothing is allocated while it is written.
  execFileSync('dd', ['if=/dev/zero', `of=${pool}`, 'bs=1M', `count=${OWN_MIB + NEIGHBOUR_MIB + 2}`, 'conv=fsync', 'status=none']);
  const system = stack.use(await composeSystem({ stateFolder: join(folder, 'state'), runFolder: join(folder, 'run') }, () => {}));
  stack.defer(async () => {
    for (const dataPath of system.dataPaths) for (const generation of await dataPath.list()) await dataPath.close(generation);
  });
  const bench = { system, pool };
  await formatDevice(system, { device: pool, extentBytes: MIB, force: true });
  await createDisk(system, { name: 'own', sizeBytes: OWN_MIB * MIB });
  await createDisk(system, { name: 'neighbour', sizeBytes: NEIGHBOUR_MIB * MIB });
  const ranges = (await extentsOf(system, 'vd:own')).map(({ startSector, sectors }) => ({ offset: startSector * 512, length: sectors * 512 }));
  const uri = await attach(bench, 'neighbour');
  const neighbour = spawn('fio', fioWords(uri, NEIGHBOUR_MIB, '--time_based', '--runtime=3600'), { cwd: folder, stdio: 'ignore' });
  stack.defer(() => ended(neighbour));
  const [revokes, bare]: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round += 1) {
    revokes.push(await revoke(bench, folder));
    bare.push(await writeBack(bench, folder, ranges));
  }
  return { revokes, bare };
}

const folder = mkdtempSync(join(process.argv[2] ?? tmpdir(), 'xvd-bench-'));
try {
  const { revokes, bare } = await measure(folder);
  publish({
    name: 'revoke',
    title: 'Revoking a VBD with much to write back',
    about: `A forced detach of a VBD with ${OWN_MIB} MiB of dirty pages, in turn with the mere writing back of as many that the same client has written to the same place, while a neighbour on the same file writes all the time; medians of ${ROUNDS} rounds.`,
    tables: [
      {
        columns: ['', 'median ms', 'slowest ms'],
        rows: [
          ['revoke', median(revokes), Math.max(...revokes)],
          ['writing back alone', median(bare), Math.max(...bare)],
        ],
      },
    ],
    goals: [{ name: 'revoke / writing back', value: median(revokes) / median(bare), atMost: 1 }],
  });
} finally {
  rmSync(folder, { recursive: true });
}
