// The walkthrough of 2004 on a machine of today, narrated: from a file to a guest that boots from a leased disk.
// Everything happens in a folder of its own and is gone at the end. With root the disk is filled as a device of this host;
// without, over NBD.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LINE_FILE, makeInitramfs, makeRootTree, READY } from './demo/guest.ts';
import { openStage, root, type Stage } from './demo/stage.ts';

const isRoot = process.getuid?.() === 0;
const started = Date.now();

function prepare(stage: Stage): void {
  const kernel = spawnSync('sh', [join(root, 'scripts/guest-kernel.sh')], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  if (kernel.status !== 0) throw new Error('no kernel for the guest');
  const kernelFolder = kernel.stdout.trim();
  makeRootTree(join(stage.folder, 'guest-root'), 'hello from domain 0');
  makeInitramfs(join(stage.folder, 'initrd.img'), kernelFolder, stage.folder);
  const description = {
    name: 'web01',
    kernel: join(kernelFolder, 'vmlinuz'),
    ramdisk: join(stage.folder, 'initrd.img'),
    memory: '256M',
    root: '/dev/xvda ro',
    console: join(stage.folder, 'console.log'),
    disks: [{ source: 'vd:web', target: '/dev/xvda', mode: 'w' }],
  };
  writeFileSync(join(stage.folder, 'web01.json'), `${JSON.stringify(description, null, 2)}\n`);
}

function fillAsDevice(stage: Stage): void {
  stage.say('Attached to domain 0, this host, the disk is a device like any other: a filesystem is made on it, and filled.');
  stage.show('xvd', ['attach', 'vd:web', '/dev/xvda', '0', 'w']);
  stage.atEnd(() => void stage.quiet('xvd', ['detach', '/dev/xvda', '0', '--force']));
  stage.show('mkfs.ext4', ['-q', '/dev/xvda']);
  withMount(stage, [], (mountPoint) => stage.show('cp', ['-a', 'guest-root/.', mountPoint]));
  stage.show('xvd', ['vbds', '0']);
  stage.show('xvd', ['detach', '/dev/xvda', '0']);
}

function withMount(stage: Stage, options: readonly string[], body: (mountPoint: string) => void): void {
  mkdirSync(join(stage.folder, 'mnt'), { recursive: true });
  stage.atEnd(() => void stage.quiet('umount', ['-q', join(stage.folder, 'mnt')]));
  stage.show('mount', [...options, '/dev/xvda', 'mnt']);
  body('mnt');
  stage.show('umount', ['mnt']);
}

/** Attaches to a consumer that is no domain here, and tells where it is served. */
function attachServed(stage: Stage, mode: 'r' | 'w'): string {
  const outcome = stage.show('xvd', ['attach', 'vd:web', '/dev/xvda', 'filler', mode, '--driver', 'nbd', '--json']);
  stage.atEnd(() => void stage.quiet('xvd', ['detach', '/dev/xvda', 'filler', '--force']));
  return (JSON.parse(outcome.stdout) as { uri: string }).uri;
}

function fillOverNbd(stage: Stage): void {
  stage.say('Without root this host cannot take the disk as a device: an image is made instead and written to the disk over NBD.');
  stage.show('mke2fs', ['-q', '-t', 'ext4', '-d', 'guest-root', 'root.img', '256M']);
  stage.show('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', 'root.img', attachServed(stage, 'w')]);
  stage.show('xvd', ['detach', '/dev/xvda', 'filler']);
}

async function boot(stage: Stage): Promise<void> {
  stage.say('The disk named in a description, a guest starts with it as its root: Debian’s kernel in QEMU.');
  stage.show('cat', ['web01.json']);
  stage.atEnd(() => void stage.quiet('xvd', ['domain', 'stop', 'web01', '--force']));
  stage.show('xvd', ['domain', 'start', 'web01.json']);
  const log = join(stage.folder, 'console.log');
  const lines = await stage.until('the guest is ready', 120_000, () => {
    const text = existsSync(log) ? readFileSync(log, 'utf8') : '';
    return text.includes(READY) ? text.split(/\r?\n/).filter((line) => line.startsWith('guest:')) : null;
  });
  stage.say(`Its console says:\n${lines.map((line) => `    ${line}`).join('\n')}`);
  stage.show('xvd', ['domain', 'list']);
}

function refuseSecondWriter(stage: Stage): void {
  stage.say('While the guest writes to it, nobody else gets the disk: a filesystem with two writers is lost.');
  stage.show('xvd', ['attach', 'vd:web', '/dev/xvdb', isRoot ? '0' : 'filler', 'w', ...(isRoot ? [] : ['--driver', 'nbd'])], 4);
}

async function findLine(stage: Stage): Promise<void> {
  stage.say('The guest is asked to end, and its disk is looked at: the line that it wrote is there.');
  stage.show('xvd', ['domain', 'stop', 'web01']);
  await stage.until('the disk is free again', 30_000, () => (stage.quiet('xvd', ['vbds', '--json']).stdout.trim() === '[]' ? true : null));
  let found = '';
  if (isRoot) {
    stage.show('xvd', ['attach', 'vd:web', '/dev/xvda', '0', 'r']);
    withMount(stage, ['-o', 'ro,noload'], (mountPoint) => void (found = stage.show('cat', [`${mountPoint}/${LINE_FILE}`]).stdout));
    stage.show('xvd', ['detach', '/dev/xvda', '0']);
  } else {
    stage.show('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', attachServed(stage, 'r'), 'after.img']);
    found = stage.show('debugfs', ['-R', `cat /${LINE_FILE}`, 'after.img']).stdout;
    stage.show('xvd', ['detach', '/dev/xvda', 'filler']);
  }
  if (!found.includes('written by the guest')) throw new Error('the line of the guest is not on the disk');
}

async function endLease(stage: Stage): Promise<void> {
  stage.say('A lease ends by itself. The disk is expired then, but whole as long as nobody needs its space, and can be brought back.');
  stage.show('xvd', ['refresh', 'web', '--expires', '1s']);
  await stage.until('the lease ends', 10_000, () => (stage.quiet('xvd', ['list', '--json']).stdout.trim() === '[]' ? true : null));
  stage.show('xvd', ['list']);
  stage.show('xvd', ['list', '--expired']);
  stage.show('xvd', ['restore', 'web', '--expires', '7d']);
  stage.show('xvd', ['list']);
  stage.show('xvd', ['check']);
}

async function play(stage: Stage): Promise<void> {
  prepare(stage);
  stage.say('A pool is made of drives, partitions or files. Here it is a file of 1 GiB that takes no space yet.');
  process.stdout.write('\n  $ truncate -s 1G pool.img\n');
  writeFileSync(join(stage.folder, 'pool.img'), '');
  truncateSync(join(stage.folder, 'pool.img'), 1024 ** 3);
  stage.show('xvd', ['format', 'pool.img', '--extent-size', '16M']);
  stage.say('A disk of 256 MiB is taken from it, for two hours.');
  stage.show('xvd', ['create', '256M', '--name', 'web', '--expires', '2h']);
  stage.show('xvd', ['extents', 'vd:web']);
  stage.say('What is attached is served by a daemon.');
  await stage.startDaemon();
  if (isRoot) fillAsDevice(stage);
  else fillOverNbd(stage);
  await boot(stage);
  refuseSecondWriter(stage);
  await findLine(stage);
  await endLease(stage);
  stage.say(`That was all of it, in ${Math.round((Date.now() - started) / 1000)} s. Nothing of it is left on this machine.`);
}

const stop = Promise.withResolvers<never>();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.reject(new Error(`ended by ${signal}`)));
try {
  await using stage = openStage();
  await Promise.race([play(stage), stop.promise]);
} catch (error) {
  process.stderr.write(`\ndemo: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
process.exit();
