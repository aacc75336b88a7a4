// Builds the tiny guest of the demo and of the tests that need one: Debian's cloud kernel, an initramfs that mounts root=, and
// the tree of a root filesystem of busybox. Nothing is installed: the kernel's package is fetched and unpacked.
// Kept under .cache/guest-HASH, by what it is made from; a second call only looks.

import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { chmod, cp, mkdir, readFile, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';

export type Guest = { readonly kernel: string; readonly ramdisk: string; readonly rootTree: string };

const checkout = join(import.meta.dirname, '..');
const sources = join(import.meta.dirname, 'guest');
const busybox = '/bin/busybox';
const metapackage = 'linux-image-cloud-amd64';
/** ext4 is part of the kernel; `button` and `evdev` hear the power button. */
const modules = ['virtio_pci', 'virtio_blk', 'button', 'evdev'];

const execute = promisify(execFile);
async function run(program: string, args: readonly string[], cwd?: string): Promise<string> {
  const { stdout } = await execute(program, [...args], { cwd, maxBuffer: 16 * 1024 * 1024, env: { ...process.env, LC_ALL: 'C', PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` } });
  return stdout;
}

export async function ensureGuest(say: (line: string) => void = () => undefined): Promise<Guest> {
  const folder = join(checkout, '.cache', `guest-${await contentHash()}`);
  const guest = { kernel: join(folder, 'vmlinuz'), ramdisk: join(folder, 'initrd.cpio'), rootTree: join(folder, 'root') };
  if (await readFile(join(folder, 'complete')).then(() => true, () => false)) return guest;
  const building = `${folder}.${randomUUID().slice(0, 8)}`;
  try {
    await build(building, say);
    await rename(building, folder).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error; // else another process was first
    });
    return guest;
  } finally {
    await rm(building, { recursive: true, force: true });
  }
}

async function contentHash(): Promise<string> {
  const hash = createHash('sha256');
  const files = (await readdir(sources, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  for (const path of [import.meta.filename, busybox, ...files.toSorted()]) hash.update(path === busybox ? path : path.slice(checkout.length)).update(await readFile(path));
  return hash.digest('hex').slice(0, 16);
}

async function build(folder: string, say: (line: string) => void): Promise<void> {
  await mkdir(folder, { recursive: true });
  const unpacked = join(folder, 'package');
  const release = await fetchKernel(folder, unpacked, say);
  say(`building the guest: kernel ${release}, initramfs, root filesystem of busybox`);
  await cp(join(unpacked, 'boot', `vmlinuz-${release}`), join(folder, 'vmlinuz'));
  await makeRamdisk(folder, unpacked, release);
  await makeRootTree(join(folder, 'root'));
  await rm(unpacked, { recursive: true });
  await writeFile(join(folder, 'complete'), `${release}\n`);
}

async function fetchKernel(folder: string, unpacked: string, say: (line: string) => void): Promise<string> {
  let kernelPackage = await kernelOfMetapackage();
  if (kernelPackage === undefined && process.getuid?.() === 0) {
    await run('apt-get', ['-qq', 'update']);
    kernelPackage = await kernelOfMetapackage();
  }
  if (kernelPackage === undefined) throw new Error(`apt does not know ${metapackage}: run apt-get update`);
  say(`fetching Debian's package ${kernelPackage} (about 26 MB)`);
  await run('apt-get', ['-qq', 'download', kernelPackage], folder);
  const file = (await readdir(folder)).find((name) => name.endsWith('.deb'));
  if (file === undefined) throw new Error(`apt-get did not bring ${kernelPackage}`);
  await run('dpkg-deb', ['-x', file, unpacked], folder);
  await rm(join(folder, file));
  const [release] = await readdir(join(unpacked, 'lib', 'modules'));
  if (release === undefined) throw new Error(`${kernelPackage} holds no modules`);
  return release;
}

async function kernelOfMetapackage(): Promise<string | undefined> {
  const depends = await run('apt-cache', ['depends', '--important', metapackage]).catch(() => '');
  return /Depends: (linux-image-\S+)/.exec(depends)?.[1];
}

/** The files of the modules and of what they stand on, in the order to load them. */
async function moduleFiles(unpacked: string, release: string): Promise<readonly string[]> {
  await run('depmod', ['-b', unpacked, release]);
  const lines = await run('modprobe', ['-d', unpacked, '-S', release, '--show-depends', '--all', ...modules]);
  return [...new Set(lines.split('\n').flatMap((line) => /^insmod (\S+)/.exec(line)?.[1] ?? []))];
}

async function makeRamdisk(folder: string, unpacked: string, release: string): Promise<void> {
  const tree = join(folder, 'ramdisk');
  for (const name of ['bin', 'dev', 'proc', 'sys', 'modules']) await mkdir(join(tree, name), { recursive: true });
  await cp(busybox, join(tree, 'bin', 'busybox'));
  await cp(join(sources, 'init'), join(tree, 'init'));
  await chmod(join(tree, 'init'), 0o755);
  const order: string[] = [];
  for (const path of await moduleFiles(unpacked, release)) {
    const name = basename(path).replace(/\.xz$/, '');
    if (path.endsWith('.xz')) await writeFile(join(tree, 'modules', name), (await execute('xz', ['-dc', path], { encoding: 'buffer', maxBuffer: 64 * 1024 * 1024 })).stdout);
    else await cp(path, join(tree, 'modules', name));
    order.push(name);
  }
  await writeFile(join(tree, 'modules', 'order'), `${order.join('\n')}\n`);
  await run('sh', ['-c', 'find . | cpio --quiet -o -H newc -R 0:0 > ../initrd.cpio'], tree);
  await rm(tree, { recursive: true });
}

async function makeRootTree(tree: string): Promise<void> {
  for (const name of ['bin', 'sbin', 'dev', 'proc', 'sys', 'run', 'tmp', 'var', 'etc', 'mnt']) await mkdir(join(tree, name), { recursive: true });
  await cp(join(sources, 'root'), tree, { recursive: true });
  await cp(busybox, join(tree, 'bin', 'busybox'));
  for (const name of (await run(busybox, ['--list'])).trim().split('\n')) if (name !== 'busybox') await symlink('busybox', join(tree, 'bin', name));
  await symlink('../bin/busybox', join(tree, 'sbin', 'init'));
  await symlink('../run', join(tree, 'var', 'run'));
  for (const script of ['etc/rc', 'etc/block-event', 'etc/acpi/PWRF/00000080']) await chmod(join(tree, script), 0o755);
}
