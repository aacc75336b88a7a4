// For real: NBD server, qemu-storage-daemon, FUSE, loop devices, filesystems. Targets are ours by a name that no other test
// and no machine has.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { mkdir, mkdtemp, open, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { MIB } from '../../base/units.ts';
import type { Endpoint, Generation, SectorUser } from '../../core/types.ts';
import { openLinuxHost } from '../../host/linux/open-linux-host.ts';
import { openPrograms } from '../../host/programs.ts';
import { until } from '../../../test/until.ts';
import { hypervisorContract } from '../contract.ts';
import type { Hypervisor, Plug } from '../hypervisor.ts';
import { findLoops } from './loop-device.ts';
import { openThisHost } from './open-this-host.ts';
import { findStorageDaemons } from './storage-daemon.ts';

const IMAGE_BYTES = 64 * MIB;
const code = (expected: string) => (error: unknown) => (error as { code?: string }).code === expected;

class Bench implements AsyncDisposable {
  readonly folder: string;
  readonly run: string;
  readonly hypervisor: Hypervisor;
  readonly users: () => Promise<readonly SectorUser[]>;
  readonly targets = [0, 1].map((which) => ({ target: `/dev/xvdt${process.pid}n${which}`, vdev: 51712 + which })) as [
    { target: string; vdev: number },
    { target: string; vdev: number },
  ];
  #servers = new Map<Generation, ChildProcess>();
  #mounted = new Set<string>();

  constructor(folder: string, hypervisor: Hypervisor, users: () => Promise<readonly SectorUser[]>) {
    this.folder = folder;
    this.users = users;
    this.run = join(folder, 'run');
    this.hypervisor = hypervisor;
  }

  image = (generation: Generation): string => join(this.folder, `${generation}.img`);

  endpoint = async (generation: Generation): Promise<Endpoint> => {
    if (!existsSync(this.image(generation))) {
      const image = await open(this.image(generation), 'w');
      await image.truncate(IMAGE_BYTES);
      await image.close();
    }
    const socketPath = join(this.folder, `${generation}.sock`);
    if (!this.#servers.has(generation)) await this.serve(generation);
    return { kind: 'nbd', uri: `nbd+unix:///x?socket=${socketPath}`, socketPath, exportName: `0/xvda@${generation}` };
  };

  async serve(generation: Generation): Promise<void> {
    const socketPath = join(this.folder, `${generation}.sock`);
    await rm(socketPath, { force: true });
    const server = spawn(
      'qemu-nbd',
      ['--format=raw', '--persistent', '--shared=8', `--export-name=0/xvda@${generation}`, `--socket=${socketPath}`, this.image(generation)],
      { stdio: 'ignore' },
    );
    this.#servers.set(generation, server);
    await until('the server listens', () => existsSync(socketPath));
  }

  async endServer(generation: Generation): Promise<void> {
    const server = this.#servers.get(generation);
    this.#servers.delete(generation);
    if (server === undefined || server.exitCode !== null) return;
    server.kill('SIGKILL');
    await once(server, 'exit');
  }

  plugOf = async (generation: Generation, which: 0 | 1 = 0): Promise<Plug> => ({
    generation,
    domain: '0',
    ...this.targets[which],
    mode: 'w',
    serial: 'x',
    endpoint: await this.endpoint(generation),
  });

  async mount(target: string): Promise<string> {
    const point = join(this.folder, 'mnt');
    await mkdir(point, { recursive: true });
    execFileSync('mount', [target, point]);
    this.#mounted.add(point);
    return point;
  }

  umount(point: string): void {
    execFileSync('umount', [point], { stdio: 'pipe' });
    this.#mounted.delete(point);
  }

  use = async (plug: Plug, inUse: boolean): Promise<void> => {
    const point = join(this.folder, 'mnt');
    if (!inUse) return this.#mounted.has(point) ? this.umount(point) : undefined;
    execFileSync('mkfs.ext4', ['-q', '-F', plug.target]);
    await this.mount(plug.target);
  };

  /** Everything of the VBD is gone: link, loop device, process, mount of FUSE, folder. */
  async leftovers(generation: Generation): Promise<readonly string[]> {
    const left: string[] = [];
    const folder = join(this.run, 'dom0', String(generation));
    if (existsSync(folder)) left.push(folder);
    left.push(...(await findLoops(join(folder, 'disk'))), ...(await findStorageDaemons(join(folder, 'storage-daemon.pid'))).map(String));
    // A loop device whose file was unmounted below it shows no path.
    for (const name of readdirSync('/sys/block'))
      if (
        name.startsWith('loop') &&
        existsSync(`/sys/block/${name}/loop/backing_file`) &&
        readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8').trim() === '/'
      )
        left.push(name);
    if (readFileSync('/proc/self/mountinfo', 'utf8').includes(folder)) left.push('mount');
    left.push(...readdirSync('/dev').filter((name) => this.targets.some(({ target }) => target === `/dev/${name}`)));
    return left;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const generation of await this.hypervisor.plugged()) await this.hypervisor.unplug({ generation, domain: '0', target: 'any', force: true });
    for (const point of this.#mounted) execFileSync('umount', ['--lazy', point]);
    for (const generation of this.#servers.keys()) await this.endServer(generation);
    await rm(this.folder, { recursive: true, force: true });
  }
}

async function openBench(): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), 'xvd-dom0-'));
  const programs = openPrograms({ searchPath: process.env['PATH'] ?? '' });
  const host = openLinuxHost({ programs, runFolder: join(folder, 'run') });
  return new Bench(folder, await openThisHost({ runFolder: join(folder, 'run'), programs, users: () => host.users() }), () => host.users());
}

hypervisorContract('this host', async () => {
  const bench = await openBench();
  const { hypervisor, targets, endpoint, use } = bench;
  return { hypervisor, domain: '0', targets, endpoint, use, [Symbol.asyncDispose]: () => bench[Symbol.asyncDispose]() };
});

test('a filesystem made and filled through the target is there for the next one', async () => {
  await using bench = await openBench();
  const plug = await bench.plugOf(1);
  assert.deepEqual(await bench.hypervisor.plug(plug), { devicePath: plug.target });
  execFileSync('mkfs.ext4', ['-q', plug.target]);
  const point = await bench.mount(plug.target);
  await writeFile(join(point, 'greeting'), 'hello');
  await assert.rejects(bench.hypervisor.unplug({ ...plug, force: false }), new RegExp(`mount ${point}`));
  bench.umount(point);
  await bench.hypervisor.unplug({ ...plug, force: false });
  assert.deepEqual(await bench.leftovers(1), []);
  assert.equal(execFileSync('debugfs', ['-R', 'cat greeting', bench.image(1)], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }), 'hello');
});

test('a VBD for reading cannot be written', async () => {
  await using bench = await openBench();
  const plug: Plug = { ...(await bench.plugOf(2)), mode: 'r' };
  await bench.hypervisor.plug(plug);
  const handle = await open(plug.target, 'r+').catch(() => null); // the kernel lets the node be opened, and refuses the write
  if (handle !== null) {
    await assert.rejects(handle.write(new Uint8Array(512)));
    await handle.close();
  }
  assert.equal(execFileSync('blockdev', ['--getro', plug.target], { encoding: 'utf8' }).trim(), '1');
  assert.equal(Number(execFileSync('blockdev', ['--getsize64', plug.target], { encoding: 'utf8' })), IMAGE_BYTES);
  await bench.hypervisor.unplug({ ...plug, force: false });
});

test('what is written in pieces smaller than a page is where it belongs', async () => {
  await using bench = await openBench();
  const plug = await bench.plugOf(9);
  await bench.hypervisor.plug(plug);
  for (let round = 0; round < 8; round += 1) {
    execFileSync('mkfs.ext4', ['-q', '-F', '-b', '1024', plug.target]);
    execFileSync('e2fsck', ['-f', '-n', plug.target], { stdio: 'pipe' });
    const point = await bench.mount(plug.target);
    bench.umount(point);
  }
  await bench.hypervisor.unplug({ ...plug, force: false });
  execFileSync('e2fsck', ['-f', '-n', bench.image(9)], { stdio: 'pipe' });
});

test('it survives the end of its server, and goes on with the next', async () => {
  await using bench = await openBench();
  const plug = await bench.plugOf(3);
  await bench.hypervisor.plug(plug);
  execFileSync('mkfs.ext4', ['-q', plug.target]);
  const point = await bench.mount(plug.target);
  await bench.endServer(3);
  const written = open(join(point, 'patience'), 'w').then(async (handle) => {
    await handle.write('kept');
    await handle.sync();
    await handle.close();
  });
  // While it waits, nobody asks it anything that would wait with it: who serves may be who asks.
  assert.ok((await bench.users()).some((user) => user.kind === 'mount' && user.name === point));
  await assert.rejects(bench.hypervisor.unplug({ ...plug, force: false }), code('VBD_BUSY'));
  await bench.serve(3);
  await written;
  bench.umount(point);
  await bench.hypervisor.unplug({ ...plug, force: false });
  assert.equal(execFileSync('debugfs', ['-R', 'cat patience', bench.image(3)], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }), 'kept');
});

test('by force a mounted VBD goes at once: its I/O fails, nothing is left when it is unmounted', async () => {
  await using bench = await openBench();
  const plug = await bench.plugOf(4);
  await bench.hypervisor.plug(plug);
  await bench.use(plug, true);
  await bench.endServer(4); // even with nobody who would answer
  await bench.hypervisor.unplug({ ...plug, force: true });
  assert.equal(existsSync(plug.target), false);
  const handle = await open(join(bench.folder, 'mnt', 'lost'), 'w').catch(() => null);
  if (handle !== null) {
    await handle.write('x');
    await assert.rejects(handle.sync());
    await handle.close().catch(() => undefined);
  }
  bench.umount(join(bench.folder, 'mnt'));
  assert.deepEqual(await bench.leftovers(4), []);
});

test('a name that is not ours is never touched', async () => {
  await using bench = await openBench();
  const plug = await bench.plugOf(5);
  await symlink('/dev/null', plug.target);
  try {
    await assert.rejects(bench.hypervisor.plug(plug), code('TARGET_TAKEN'));
    assert.equal(readlinkSync(plug.target), '/dev/null');
    assert.deepEqual(await bench.hypervisor.plugged(), []);
  } finally {
    await unlink(plug.target);
  }
});

test('a plug that was cut off anywhere is completed by the next, or taken back', async () => {
  await using bench = await openBench();
  const plug = await bench.plugOf(6);
  await bench.hypervisor.plug(plug);
  const folder = join(bench.run, 'dom0', '6');
  // As if killed before the link was made, then before the loop device was.
  await unlink(plug.target);
  await bench.hypervisor.plug(plug);
  assert.ok(existsSync(plug.target));
  execFileSync('losetup', ['--detach', readlinkSync(plug.target)]);
  await bench.hypervisor.plug(plug);
  assert.equal((await findLoops(join(folder, 'disk'))).length, 1);
  // And with the storage daemon gone: everything is made again.
  const [pid] = await findStorageDaemons(join(folder, 'storage-daemon.pid'));
  process.kill(pid ?? 0, 'SIGKILL');
  await until('the storage daemon ends', async () => (await findStorageDaemons(join(folder, 'storage-daemon.pid'))).length === 0);
  await bench.hypervisor.plug(plug);
  execFileSync('mkfs.ext4', ['-q', plug.target]);
  await bench.hypervisor.unplug({ ...plug, force: false });
  assert.deepEqual(await bench.leftovers(6), []);
});

test('an endpoint that does not answer leaves nothing behind', async () => {
  await using bench = await openBench();
  const plug = await bench.plugOf(7);
  await bench.endServer(7);
  await assert.rejects(bench.hypervisor.plug(plug), code('PROGRAM_FAILED'));
  assert.deepEqual(await bench.leftovers(7), []);
});

test('a block endpoint gets a link, and is flushed when it is taken out', async () => {
  await using bench = await openBench();
  await bench.endpoint(8);
  const loop = execFileSync('losetup', ['--find', '--show', bench.image(8)], { encoding: 'utf8' }).trim();
  try {
    const plug: Plug = { ...(await bench.plugOf(8)), endpoint: { kind: 'block', path: loop } };
    await bench.hypervisor.plug(plug);
    assert.equal(readlinkSync(plug.target), loop);
    const handle = await open(plug.target, 'r+');
    await handle.write(new Uint8Array(4096).fill(7));
    await handle.close();
    await bench.hypervisor.unplug({ ...plug, force: false });
    assert.deepEqual(await bench.leftovers(8), []);
  } finally {
    execFileSync('losetup', ['--detach', loop]);
  }
});
