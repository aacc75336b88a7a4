import { after } from 'node:test';
import { join } from 'node:path';
import { ensureGuest } from '../../../demo/guest.ts';
import { openPrograms } from '../../host/programs.ts';
import type { Programs } from '../../host/programs.ts';
import { hypervisorContract } from '../contract.ts';
import type { Hypervisor } from '../hypervisor.ts';
import { Bench, Console } from './fixture.ts';
import { openQemu } from './qemu.ts';
import { connectQmp } from './qmp-connection.ts';

// One guest serves the whole suite: it boots once.
const log = (): void => undefined;
const targets = [
  { target: '/dev/xvdb', vdev: 51728 },
  { target: '/dev/xvdc', vdev: 51744 },
] as const;

const bench = await Bench.open();
const runFolder = join(bench.folder, 'run');
const spareSocket = join(bench.folder, 'spare.sock');
const found = openPrograms({ searchPath: process.env['PATH'] ?? '' });
/** Every machine gets a second QMP socket: the first one has its one client. */
const programs: Programs = {
  ...found,
  run: (name, args, options) => found.run(name, args.includes('-S') ? [...args, '-qmp', `unix:${spareSocket},server=on,wait=off`] : args, options),
};
const guest = await ensureGuest();
await bench.image('root', 32 * 1024 * 1024, guest.rootTree);
const root = {
  generation: 1,
  domain: 'web01',
  target: '/dev/xvda',
  vdev: 51712,
  mode: 'w',
  serial: 'vd-1',
  endpoint: await bench.serve('root', 'root'),
} as const;

after(async () => {
  await using qemu = openQemu({ runFolder, programs, log });
  if ((await qemu.find('web01')) !== null) await qemu.stop('web01', { force: true });
  await bench[Symbol.asyncDispose]();
});

async function bootOnce(): Promise<void> {
  await using qemu = openQemu({ runFolder, programs, log });
  if ((await qemu.find('web01')) !== null) return;
  await qemu.start({ name: 'web01', kernel: guest.kernel, ramdisk: guest.ramdisk, memory: '256M', root: '/dev/xvda ro', cmdline: 'quiet', disks: [] }, [root]);
  using line = new Console(await qemu.console('web01'));
  await line.says(/guest: ready/);
}

hypervisorContract('QEMU', async () => {
  await bootOnce();
  const qemu = openQemu({ runFolder, programs, log, letGoMs: 4_000 });
  return {
    hypervisor: { ...delegate(qemu), plugged: async () => (await qemu.plugged()).filter((generation) => generation !== root.generation) },
    domain: 'web01',
    targets,
    endpoint: async (generation) => {
      await bench.image(`disk${generation}`, 4 * 1024 * 1024);
      return bench.serve(`disk${generation}`, `disk${generation}`);
    },
    // A guest that stands still does not let go.
    use: async (_, inUse) => {
      using spare = await connectQmp(spareSocket);
      await spare.execute(inUse ? 'stop' : 'cont');
    },
    [Symbol.asyncDispose]: () => qemu[Symbol.asyncDispose](),
  };
});

/** A class does not spread. */
const delegate = (qemu: Hypervisor): Hypervisor => ({
  name: qemu.name,
  available: () => qemu.available(),
  domains: () => qemu.domains(),
  find: (domain) => qemu.find(domain),
  plug: (plug) => qemu.plug(plug),
  unplug: (unplug) => qemu.unplug(unplug),
  plugged: () => qemu.plugged(),
  foreignUsers: () => qemu.foreignUsers(),
  start: (description, plugs) => qemu.start(description, plugs),
  stop: (domain, options) => qemu.stop(domain, options),
  console: (domain) => qemu.console(domain),
  watchEnds: (ended, signal) => qemu.watchEnds(ended, signal),
  [Symbol.asyncDispose]: () => qemu[Symbol.asyncDispose](),
});
