import assert from 'node:assert/strict';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { ensureGuest } from '../../../demo/guest.ts';
import { XvdError } from '../../base/error.ts';
import type { Endpoint } from '../../core/types.ts';
import { openPrograms } from '../../host/programs.ts';
import type { Plug } from '../hypervisor.ts';
import { Bench, Console } from './fixture.ts';
import { openQemu } from './qemu.ts';

const programs = openPrograms({ searchPath: process.env['PATH'] ?? '' });
const log = (): void => undefined;
const code =
  (wanted: string) =>
  (error: unknown): boolean =>
    error instanceof XvdError && error.code === wanted;

const plugOf = (generation: number, target: string, vdev: number, endpoint: Endpoint): Plug => ({
  generation,
  domain: 'web01',
  target,
  vdev,
  mode: 'w',
  serial: `vd-${generation}`,
  endpoint,
});

test('a guest boots from its disk, takes and drops another while it runs, survives a new daemon, and powers off when asked', { timeout: 240_000 }, async () => {
  const guest = await ensureGuest();
  await using bench = await Bench.open();
  await bench.image('root', 32 * 1024 * 1024, guest.rootTree);
  await bench.image('data', 8 * 1024 * 1024);
  const run = join(bench.folder, 'run');
  const description = {
    name: 'web01',
    kernel: guest.kernel,
    ramdisk: guest.ramdisk,
    memory: '256M',
    root: '/dev/xvda ro',
    cmdline: 'quiet xvd.write=hello',
    console: join(bench.folder, 'log'),
    disks: [],
  };
  const root = plugOf(17, '/dev/xvda', 51712, await bench.serve('root', 'web01/xvda@17'));
  const data = plugOf(18, '/dev/xvdb', 51728, await bench.serve('data', 'web01/xvdb@18'));
  const ends: string[] = [];
  const over = new AbortController();
  try {
    {
      await using qemu = openQemu({ runFolder: run, programs, log });
      const started = await qemu.start(description, [root]);
      assert.deepEqual([started.name, started.state, started.hypervisor], ['web01', 'running', 'qemu']);
      await assert.rejects(qemu.start(description, [root]), code('DOMAIN_EXISTS'));
      assert.deepEqual(await qemu.plugged(), [17]);
    }
    await using qemu = openQemu({ runFolder: run, programs, log });
    const ended = Promise.withResolvers<void>();
    qemu.watchEnds((domain) => (ends.push(domain), ended.resolve()), over.signal);
    const [found] = await qemu.domains();
    assert.equal((await qemu.find(found?.id ?? ''))?.name, 'web01');
    using line = new Console(await qemu.console('web01'));
    await line.says(/guest: ready/);
    assert.match(await readFile(description.console, 'utf8'), /is mounted from \/dev\/vda[^]*serial number is 'vd-17'/);

    await qemu.plug(data);
    await qemu.plug(data);
    await line.says(/guest: add \/dev\/vdb 'vd-18'/);
    assert.deepEqual((await qemu.plugged()).toSorted(), [17, 18]);
    line.type('echo written >/dev/vdb; sync; echo do"ne"');
    await line.says(/done/);
    await qemu.unplug({ generation: 18, domain: 'web01', target: '/dev/xvdb', force: false });
    await line.says(/guest: remove \/dev\/vdb/);
    assert.deepEqual(await qemu.plugged(), [17]);
    assert.match((await readFile(join(bench.folder, 'data'))).toString('latin1', 0, 8), /^written/);

    await qemu.stop('web01', { force: false });
    await ended.promise;
    assert.deepEqual(ends, ['web01']);
    assert.deepEqual([await qemu.domains(), await readdir(join(run, 'domains'))], [[], []]);
  } finally {
    over.abort();
    await using qemu = openQemu({ runFolder: run, programs, log });
    if ((await qemu.find('web01')) !== null) await qemu.stop('web01', { force: true });
  }
});

test('force takes a disk from a guest that does not listen: its requests fail, and the export has no client', { timeout: 60_000 }, async () => {
  await using bench = await Bench.open();
  await writeFile(join(bench.folder, 'data'), 'x'.repeat(1024 * 1024));
  const plug = plugOf(5, '/dev/xvda', 51712, await bench.serve('data', 'web01/xvda@5'));
  const run = join(bench.folder, 'run');
  await using qemu = openQemu({ runFolder: run, programs, log });
  const { kernel } = await ensureGuest();
  // A kernel without a root filesystem ends in a panic and then hears nothing.
  await qemu.start({ name: 'web01', kernel, memory: '128M', cmdline: 'panic=0', disks: [] }, [plug]);
  try {
    await qemu.unplug({ generation: 5, domain: 'web01', target: '/dev/xvda', force: true });
    assert.deepEqual(await qemu.plugged(), []);
    await qemu.unplug({ generation: 5, domain: 'web01', target: '/dev/xvda', force: true });
  } finally {
    await qemu.stop('web01', { force: true });
  }
  assert.deepEqual(await qemu.domains(), []);
});

test('a start that fails leaves nothing and says why', async () => {
  await using bench = await Bench.open();
  const run = join(bench.folder, 'run');
  await using qemu = openQemu({ runFolder: run, programs, log });
  const description = { name: 'web01', kernel: join(bench.folder, 'no-kernel'), memory: '64M', disks: [] };
  await assert.rejects(qemu.start(description, []), (error) => code('HYPERVISOR_FAILED')(error) && /no-kernel/.test(String(error)));
  assert.deepEqual(await readdir(join(run, 'domains')), []);
  await assert.rejects(qemu.stop('web01', { force: true }), code('DOMAIN_NOT_FOUND'));
  await assert.rejects(openQemu({ runFolder: join(bench.folder, 'x'.repeat(100)), programs, log }).start(description, []), code('VALUE_INVALID'));
});

test('a start that was cut off is cleared away, and its end is told', async () => {
  await using bench = await Bench.open();
  const run = join(bench.folder, 'run');
  await mkdir(join(run, 'domains', 'web01'), { recursive: true });
  await using qemu = openQemu({ runFolder: run, programs, log });
  assert.deepEqual(await qemu.domains(), []);
  const ended = Promise.withResolvers<string>();
  const over = new AbortController();
  qemu.watchEnds(ended.resolve, over.signal);
  assert.equal(await ended.promise, 'web01');
  assert.deepEqual(await readdir(join(run, 'domains')), []);
  over.abort();
});
