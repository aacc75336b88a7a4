// The walkthrough of 2004 on a machine of today, narrated: from a file to a guest that boots from a leased disk.
// Everything happens in a folder of its own and is gone at the end. With root the disk is filled as a device of this host;
// without, over NBD.

import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureGuest } from './guest.ts';
import type { Guest } from './guest.ts';
import { Stage } from './stage.ts';

const isRoot = process.getuid?.() === 0;
const guestLine = 'hello-from-the-guest';
const lineFile = 'written-by-guest';

type Play = { readonly stage: Stage; readonly guest: Guest; readonly target: string };

/** Another program's disk may have the name already: then the next one. */
const freeTarget = (): string => ['a', 'b', 'c', 'd', 'e', 'f'].map((letter) => `/dev/xvd${letter}`).find((path) => !existsSync(path)) ?? '/dev/xvda';

async function makePool({ stage }: Play): Promise<void> {
  stage.say('A pool is made of drives, partitions or files. Here it is a file of 1 GiB that takes no space yet.');
  await stage.show('truncate', ['-s', '1G', 'pool.img']);
  await stage.show('xvd', ['format', 'pool.img', '--extent-size', '16M']);
  stage.say('A disk of 256 MiB is taken from it. It is leased for two hours: nobody has to remember to delete it.');
  await stage.show('xvd', ['create', '256M', '--name', 'web', '--expires', '2h']);
  await stage.show('xvd', ['extents', 'vd:web']);
}

async function startDaemon({ stage }: Play): Promise<void> {
  stage.say('What is attached is served by a daemon, which also ends the leases.');
  const daemon = stage.background('xvd', ['serve']);
  await stage.until('the daemon answers', 30_000, async () => {
    daemon.check();
    return (await stage.quiet('xvd', ['domain', 'list', '--json'])).status === 0 ? true : null;
  });
}

async function fillAsDevice(play: Play): Promise<void> {
  const { stage, guest, target } = play;
  stage.say('Attached to domain 0, which is this host, the disk is a device like any other: a filesystem is made on it, and filled.');
  await attachHere(play, 'w');
  await stage.show('mkfs.ext4', ['-q', target]);
  await withMount(play, [], (folder) => stage.show('cp', ['-a', `${guest.rootTree}/.`, folder]));
  await stage.show('xvd', ['vbds', '0']);
  await stage.show('xvd', ['detach', target, '0']);
}

async function attachHere({ stage, target }: Play, mode: 'r' | 'w'): Promise<void> {
  stage.atEnd(() => stage.quiet('xvd', ['detach', target, '0', '--force']));
  await stage.show('xvd', ['attach', 'vd:web', target, '0', mode]);
}

async function withMount<T>({ stage, target }: Play, options: readonly string[], body: (folder: string) => Promise<T>): Promise<T> {
  await mkdir(join(stage.folder, 'mnt'), { recursive: true });
  stage.atEnd(() => stage.quiet('umount', ['-q', join(stage.folder, 'mnt')]));
  await stage.show('mount', [...options, target, 'mnt']);
  const result = await body('mnt');
  await stage.show('umount', ['mnt']);
  return result;
}

/** Attaches to a consumer that is no domain here, and tells where it is served. */
async function attachServed({ stage, target }: Play, mode: 'r' | 'w'): Promise<string> {
  stage.atEnd(() => stage.quiet('xvd', ['detach', target, 'filler', '--force']));
  const { stdout } = await stage.show('xvd', ['attach', 'vd:web', target, 'filler', mode, '--driver', 'nbd', '--json']);
  return (JSON.parse(stdout) as { uri: string }).uri;
}

async function fillOverNbd(play: Play): Promise<void> {
  const { stage, guest, target } = play;
  stage.say('Without root this host cannot take the disk as a device: an image is made instead and written to the disk over NBD.');
  await stage.show('mke2fs', ['-q', '-t', 'ext4', '-d', guest.rootTree, 'root.img', '256M']);
  await stage.show('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', 'root.img', await attachServed(play, 'w')]);
  await stage.show('xvd', ['detach', target, 'filler']);
}

async function boot({ stage, guest }: Play): Promise<void> {
  stage.say("The disk named in a description, a guest starts with it as its root: Debian's kernel in QEMU.");
  const log = join(stage.folder, 'console.log');
  const description = {
    name: 'web01',
    kernel: guest.kernel,
    ramdisk: guest.ramdisk,
    memory: '256M',
    root: '/dev/xvda ro',
    cmdline: `quiet xvd.write=${guestLine}`,
    console: log,
    disks: [{ source: 'vd:web', target: '/dev/xvda', mode: 'w' }],
  };
  await writeFile(join(stage.folder, 'web01.json'), `${JSON.stringify(description, null, 2)}\n`);
  await stage.show('cat', ['web01.json']);
  stage.atEnd(() => stage.quiet('xvd', ['domain', 'stop', 'web01', '--force']));
  await stage.show('xvd', ['domain', 'start', 'web01.json']);
  const lines = await stage.until('the guest is ready', 150_000, async () => {
    const text = await readFile(log, 'utf8').catch(() => '');
    return text.includes('guest: ready') ? text.split(/\r?\n/).filter((line) => line.startsWith('guest:')) : null;
  });
  stage.say(`Its console says:\n\n${lines.map((line) => `    ${line}`).join('\n')}`);
  await stage.show('xvd', ['domain', 'list']);
}

async function refuseSecondWriter({ stage }: Play): Promise<void> {
  stage.say('While the guest writes to the disk nobody else gets it: a filesystem with two writers is lost. So this is refused, with the reason.');
  await stage.show('xvd', ['attach', 'vd:web', '/dev/xvdz', ...(isRoot ? ['0', 'w'] : ['filler', 'w', '--driver', 'nbd'])], 4);
}

async function findLine(play: Play): Promise<void> {
  const { stage, target } = play;
  stage.say('The guest is asked to power off. Then its disk is looked at: the line that it wrote is there.');
  await stage.show('xvd', ['domain', 'stop', 'web01']);
  let found: string;
  if (isRoot) {
    await attachHere(play, 'r');
    ({ stdout: found } = await withMount(play, ['-o', 'ro,noload'], (folder) => stage.show('cat', [`${folder}/${lineFile}`])));
    await stage.show('xvd', ['detach', target, '0']);
  } else {
    await stage.show('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', await attachServed(play, 'r'), 'after.img']);
    ({ stdout: found } = await stage.show('debugfs', ['-R', `cat /${lineFile}`, 'after.img']));
    await stage.show('xvd', ['detach', target, 'filler']);
  }
  if (!found.includes(guestLine)) throw new Error('the line of the guest is not on the disk');
}

async function endLease({ stage }: Play): Promise<void> {
  stage.say(
    'A lease ends by itself, and those who follow the events hear of it. The disk is expired then, but stays whole until its space is needed, and until then it can be brought back.',
  );
  const events = stage.background('xvd', ['events', '--follow']);
  await stage.show('xvd', ['refresh', 'web', '--expires', '2s']);
  stage.say('Two seconds later:');
  await events.line(/disk\.expired/, 30_000);
  await stage.show('xvd', ['list']);
  await stage.show('xvd', ['list', '--expired']);
  await stage.show('xvd', ['restore', 'web', '--expires', '7d']);
  await stage.show('xvd', ['list']);
  await stage.show('xvd', ['check']);
}

async function perform(stage: Stage): Promise<void> {
  const started = performance.now();
  const guest = await ensureGuest((line) => stage.say(line));
  const play = { stage, guest, target: freeTarget() };
  await makePool(play);
  await startDaemon(play);
  await (isRoot ? fillAsDevice(play) : fillOverNbd(play));
  await boot(play);
  await refuseSecondWriter(play);
  await findLine(play);
  await endLease(play);
  stage.say(`That was all of it, in ${Math.round((performance.now() - started) / 1000)} s. Nothing of it is left on this machine.`);
}

const stop = Promise.withResolvers<never>();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop.reject(new Error(`ended by ${signal}`)));
try {
  await using stage = await Stage.open();
  await Promise.race([perform(stage), stop.promise]);
} catch (error) {
  process.stderr.write(`\ndemo: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
process.exit();
