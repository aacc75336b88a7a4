// Run by figures.sh in the lab: attach beside lvchange, create beside lvcreate, and a VBD beside the raw partition below it.

import { spawnSync } from 'node:child_process';
import { connect } from 'node:net';

const [device = ''] = process.argv.slice(2);
const socketPath = `${process.env['XVD_RUN']}/api.sock`;
const rounds = Number(process.env['FIGURE_ROUNDS'] ?? 20);
/** Attaches (and what they are compared with) that are not counted: V8 runs code fast that has run before, here after some 20 attaches (430 ms the first, then 200, then 160). Creates have no such rounds. */
const warmUps = 20;

/** HTTP by hand: Node's client takes 7 ms of this machine, and it is the daemon that is timed. */
function call(method: string, path: string, body?: unknown): Promise<{ id?: number; devicePath?: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ id?: number; devicePath?: string }>();
  const content = body === undefined ? '' : JSON.stringify(body);
  const socket = connect(socketPath);
  let answer = '';
  socket.setEncoding('utf8').on('data', (part: string) => (answer += part));
  socket.once('error', reject).once('end', () => {
    const at = answer.indexOf('\r\n\r\n');
    if (/^HTTP\/1.1 2/.test(answer)) resolve(JSON.parse(answer.slice(at)) as { id?: number });
    else reject(new Error(answer.slice(at)));
  });
  const head = ['host: localhost', 'connection: close', 'content-type: application/json', `content-length: ${Buffer.byteLength(content)}`];
  socket.write([`${method} /api/v1${path} HTTP/1.1`, ...head, '', content].join('\r\n'));
  return promise;
}

function run(program: string, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`);
  return stdout;
}

async function timed(into: number[], body: () => unknown): Promise<void> {
  const started = performance.now();
  await body();
  into.push(performance.now() - started);
}

const sorted = (values: readonly number[]): number[] => values.toSorted((a, b) => a - b);
const median = (values: readonly number[]): number => sorted(values)[Math.floor(values.length / 2)] ?? 0;
const spread = (values: readonly number[]): string => {
  const all = sorted(values);
  return `${Math.round(all[0] ?? 0)}..${Math.round(all.at(-1) ?? 0)}`;
};
const print = (name: string, values: readonly number[], unit: string): void =>
  void process.stdout.write(`${name.padEnd(44)} ${String(Math.round(median(values))).padStart(8)} ${unit}  (${spread(values)}, ${values.length} times)\n`);

async function attachBesideLvchange(): Promise<void> {
  const { id } = await call('POST', '/disks', { sizeBytes: 64 * 2 ** 20 });
  run('lvm', 'lvcreate', '-q', '-an', '-Zn', '-Wn', '-L', '64M', '-n', 'one', 'rival');
  const [attach, detach, activate, deactivate]: number[][] = [[], [], [], []];
  for (let round = -warmUps; round < rounds; round += 1) {
    if (round === 0) for (const list of [attach, detach, activate, deactivate]) list?.splice(0);
    await timed(attach ?? [], () => call('POST', '/vbds', { source: `vd:${id}`, target: '/dev/xvda', domain: '0', mode: 'w' }));
    await timed(activate ?? [], () => run('lvm', 'lvchange', '-ay', 'rival/one'));
    await timed(detach ?? [], () => call('DELETE', '/vbds/0/xvda'));
    await timed(deactivate ?? [], () => run('lvm', 'lvchange', '-an', 'rival/one'));
  }
  print('xvd attach to domain 0, daemon warm', attach ?? [], 'ms');
  print('lvchange -ay', activate ?? [], 'ms');
  print('xvd detach from domain 0', detach ?? [], 'ms');
  print('lvchange -an', deactivate ?? [], 'ms');
  run('lvm', 'lvremove', '-qq', '-f', 'rival/one');
  await call('DELETE', `/disks/${id}`);
}

async function createBesideLvcreate(): Promise<void> {
  const [command, api, rival]: number[][] = [[], [], []];
  for (let round = 0; round < Math.ceil(rounds / 4); round += 1) {
    await timed(command ?? [], () => run('xvd', 'create', '16M', '--no-wipe', '--name', `a${round}`));
    await timed(rival ?? [], () => run('lvm', 'lvcreate', '-q', '-ay', '-Zn', '-Wn', '-L', '16M', '-n', `a${round}`, 'rival'));
    await timed(api ?? [], () => call('POST', '/disks', { sizeBytes: 16 * 2 ** 20, wipe: false }));
  }
  print('xvd create, the command', command ?? [], 'ms');
  print('xvd create, through the daemon', api ?? [], 'ms');
  print('lvcreate -ay', rival ?? [], 'ms');
}

type Fio = { readonly jobs: readonly { readonly read: { readonly iops: number }; readonly write: { readonly iops: number } }[] };

function iops(filename: string, offsetBytes: number, workload: string, block: string): number {
  const common = ['--name=x', '--direct=1', '--ioengine=libaio', '--iodepth=16', '--time_based', '--runtime=1', '--ramp_time=0.3', '--size=60M'];
  const out = run('fio', ...common, `--filename=${filename}`, `--offset=${offsetBytes}`, `--rw=${workload}`, `--bs=${block}`, '--output-format=json');
  const [job] = (JSON.parse(out.slice(out.indexOf('{'))) as Fio).jobs;
  return (job?.read.iops ?? 0) + (job?.write.iops ?? 0);
}

/** The same sectors each time, by the VBD, and by the partition that its extents lie on, twice: what the two differ by in one round is no difference. Each is
 *  first in turn. Beside them a volume of LVM on the other disk: it is made of the same kernel's linear target. */
async function vbdBesideRaw(): Promise<void> {
  const { id } = await call('POST', '/disks', { sizeBytes: 64 * 2 ** 20 });
  const { devicePath = '' } = await call('POST', '/vbds', { source: `vd:${id}`, target: '/dev/xvda', domain: '0', mode: 'w' });
  run('lvm', 'lvcreate', '-q', '-ay', '-Zn', '-Wn', '-L', '64M', '-n', 'two', 'rival');
  const [, , , , start] = run('dmsetup', 'table', run('readlink', '-f', devicePath).trim())
    .trim()
    .split(/\s+/);
  const raw = { name: 'raw partition', path: device, offsetBytes: Number(start) * 512 };
  const ways = [
    raw,
    { name: 'VBD by device-mapper', path: devicePath, offsetBytes: 0 },
    { ...raw, name: 'raw partition again (control)' },
    { name: 'volume of LVM', path: '/dev/rival/two', offsetBytes: 0 },
  ];
  for (const workload of ['randread', 'randwrite']) {
    const found: number[][] = ways.map(() => []);
    for (let round = 0; round < Math.ceil(rounds / 2); round += 1)
      for (const turn of ways.keys()) {
        const way = (round + turn) % ways.length;
        const { path = '', offsetBytes = 0 } = ways[way] ?? {};
        found[way]?.push(iops(path, offsetBytes, workload, '4k'));
      }
    for (const [way, { name }] of ways.entries()) print(`${workload} 4k: ${name}`, found[way] ?? [], 'IOPS');
    const [first = [], vbd = [], control = [], volume = []] = found;
    const percent = (values: readonly number[]): number[] => values.map((value, round) => 100 * (value / (first[round] ?? 0)));
    print(`${workload} 4k: VBD beside the partition`, percent(vbd), '%');
    print(`${workload} 4k: the partition beside itself`, percent(control), '%');
    print(`${workload} 4k: LVM beside the partition`, percent(volume), '%');
  }
  await call('DELETE', '/vbds/0/xvda');
  run('lvm', 'lvremove', '-qq', '-f', 'rival/two');
}

await attachBesideLvchange();
await createBesideLvcreate();
await vbdBesideRaw();
