// `xvd create` as a whole process in turn with `lvcreate`, which here does LVM's work on metadata alone (no device-mapper, no
// zeroing): on empty pools and on pools of 1,000 volumes. Each pool is a loop device on a sparse file of its own; LVM has a
// configuration of its own that shows it nothing but that device, so that the host's LVM is out of its reach.
// `node bench/lvm.bench.ts [FOLDER]`: where the files lie (a folder of its own there), else the system's folder for such.

import { spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { GIB, MIB } from '../src/base/units.ts';
import { openXvd } from '../src/index.ts';
import { median, publish, quantile } from './report.ts';

const ROUNDS = 31;
const VOLUMES = 1_000;
const POOL_BYTES = 16 * GIB;
const EXTENT_MIB = 4;

const xvd = resolve(import.meta.dirname, '../bin/xvd');
const folder = mkdtempSync(join(process.argv[2] ?? tmpdir(), 'xvd-bench-'));
const loops: string[] = [];
const state = { stateFolder: join(folder, 'state'), runFolder: join(folder, 'run') };
const env = {
  ...process.env,
  XVD_STATE: state.stateFolder,
  XVD_RUN: state.runFolder,
  LVM_SYSTEM_DIR: join(folder, 'lvm'),
  LVM_SUPPRESS_FD_WARNINGS: '1',
};

function run(command: string, args: readonly string[], input = ''): string {
  const { status, stdout, stderr } = spawnSync(command, args, { env, input, encoding: 'utf8', maxBuffer: 64 * MIB });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}: ${stderr}`);
  return stdout;
}

/** Milliseconds. */
function timed(command: string, args: readonly string[]): number {
  const from = performance.now();
  const { status } = spawnSync(command, args, { env, stdio: 'ignore' });
  const took = performance.now() - from;
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}`);
  return took;
}

function makeLoop(name: string): string {
  const file = join(folder, name);
  const descriptor = openSync(file, 'wx');
  ftruncateSync(descriptor, POOL_BYTES);
  closeSync(descriptor);
  const loop = run('losetup', ['--find', '--show', file]).trim();
  loops.push(loop);
  return loop;
}

function makeGroup(): void {
  const loop = makeLoop('lvm.disk');
  for (const inside of ['lvm', 'lvm/locks']) mkdirSync(join(folder, inside));
  // The less LVM has to look at, the faster it is.
  writeFileSync(
    join(folder, 'lvm/lvm.conf'),
    `devices { global_filter=["a|^${loop}$|","r|.*|"] use_devicesfile=0 obtain_device_list_from_udev=0 external_device_info_source="none" hints="none" }
global { locking_dir="${join(folder, 'lvm/locks')}" activation=0 event_activation=0 use_lvmpolld=0 }
activation { monitoring=0 udev_sync=0 udev_rules=0 }\n`,
  );
  run('pvcreate', [loop]);
  run('vgcreate', ['--physicalextentsize', `${EXTENT_MIB}M`, 'bench', loop]);
}

const config = (more = ''): string[] => ['--config', `global/activation=0${more}`];
const withoutBackup = ' backup { backup=0 archive=0 }';
const volume = (name: string): string[] => ['-an', '-Zn', '-Wn', '-l', '1', '-n', name, 'bench'];

async function fill(): Promise<void> {
  await using catalog = await openXvd(state);
  for (let index = 0; index < VOLUMES; index += 1) await catalog.createDisk({ sizeBytes: EXTENT_MIB * MIB, name: `disk-${index}` });
  const script = Array.from({ length: VOLUMES }, (_, index) => ['lvcreate', ...volume(`disk-${index}`)].join(' '));
  run('lvm', [], `${script.map((line) => `${line} --config "global/activation=0${withoutBackup}"`).join('\n')}\n`);
}

type Times = { readonly xvd: number[]; readonly lvm: number[]; readonly bare: number[] };

/** What is made is taken away again, so that the pools stay as full as they are. */
function measure(): Times {
  const times: Times = { xvd: [], lvm: [], bare: [] };
  for (let round = 0; round <= ROUNDS; round += 1) {
    const name = `round-${round}`;
    const took = {
      xvd: timed(xvd, ['create', `${EXTENT_MIB}M`, '--name', name]),
      lvm: timed('lvcreate', [...config(), ...volume(name)]),
      bare: timed('lvcreate', [...config(withoutBackup), ...volume(`${name}-bare`)]),
    };
    run(xvd, ['delete', name]);
    run('lvremove', ['-y', ...config(withoutBackup), `bench/${name}`, `bench/${name}-bare`]);
    // The first round reads programs from the disk.
    if (round > 0) for (const key of ['xvd', 'lvm', 'bare'] as const) times[key].push(took[key]);
  }
  return times;
}

function tell(empty: Times, full: Times): void {
  const rows = [
    { name: 'empty', ...empty },
    { name: `${VOLUMES} volumes`, ...full },
  ].map((at) => [at.name, median(at.xvd), quantile(at.xvd, 0.9), median(at.lvm), quantile(at.lvm, 0.9), median(at.bare), median(at.lvm) / median(at.xvd)]);
  publish({
    name: 'lvm',
    title: 'xvd create beside lvcreate',
    about: `Whole processes, in turn: \`xvd create ${EXTENT_MIB}M\` on clean space of a loop device, \`lvcreate --config global/activation=0 -an -Zn -Wn -l 1\` on another, and the same without the backups that LVM makes of its metadata; ${ROUNDS} rounds on each pair of pools, what was made is removed between.`,
    tables: [{ columns: ['pools', 'xvd median ms', 'xvd p90', 'lvcreate median ms', 'lvcreate p90', 'without backups', 'lvcreate / xvd'], rows }],
    goals: [
      { name: 'empty pools: lvcreate / xvd create', value: median(empty.lvm) / median(empty.xvd), atLeast: 1 },
      { name: `${VOLUMES} volumes: lvcreate / xvd create`, value: median(full.lvm) / median(full.xvd), atLeast: 2 },
    ],
  });
}

function clean(): void {
  for (const loop of loops.splice(0)) spawnSync('losetup', ['--detach', loop]);
  rmSync(folder, { recursive: true, force: true });
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    clean();
    process.exit(1);
  });
}
try {
  makeGroup();
  run(xvd, ['format', makeLoop('xvd.disk'), '--extent-size', `${EXTENT_MIB}M`, '--wipe']);
  const empty = measure();
  await fill();
  tell(empty, measure());
} finally {
  clean();
}
