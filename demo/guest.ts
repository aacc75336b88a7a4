// Builds the tiny guest of the demo and of the tests that need one: Debian's cloud kernel, an initramfs that mounts root=, and
// the tree of a root filesystem of busybox. Nothing is installed: the kernel's package is fetched and unpacked.
// Kept under .cache/guest-HASH, by what it is made from; a second call only looks.

import { createHash, randomUUID } from 'node:crypto';
import { chmod, cp, mkdir, readFile, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { busybox, makeRamdisk, run } from './ramdisk.ts';

export type Guest = { readonly kernel: string; readonly ramdisk: string; readonly rootTree: string };

const checkout = join(import.meta.dirname, '..');
const sources = join(import.meta.dirname, 'guest');
const metapackage = 'linux-image-cloud-amd64';
/** ext4 is part of the kernel; `button` and `evdev` hear the power button. */
const modules = ['virtio_pci', 'virtio_blk', 'button', 'evdev'];

export async function ensureGuest(say: (line: string) => void = () => undefined): Promise<Guest> {
  const folder = join(checkout, '.cache', `guest-${await contentHash()}`);
  const guest = { kernel: join(folder, 'vmlinuz'), ramdisk: join(folder, 'initrd.cpio'), rootTree: join(folder, 'root') };
  if (
    await readFile(join(folder, 'complete')).then(
      () => true,
      () => false,
    )
  )
    return guest;
  const building = `${folder}.${randomUUID().slice(0, 8)}`;
  try {
    await build(building, say);
    await rename(building, folder).catch(async (error: unknown) => {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error; // else another process was first
    });
    return guest;
  } finally {
    await rm(building, { recursive: true, force: true });
  }
}

async function contentHash(): Promise<string> {
  const hash = createHash('sha256');
  const files = (await readdir(sources, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  for (const path of [import.meta.filename, join(import.meta.dirname, 'ramdisk.ts'), busybox, ...files.toSorted()])
    hash.update(path === busybox ? path : path.slice(checkout.length)).update(await readFile(path));
  return hash.digest('hex').slice(0, 16);
}

async function build(folder: string, say: (line: string) => void): Promise<void> {
  await mkdir(folder, { recursive: true });
  const unpacked = join(folder, 'package');
  const release = await fetchKernel(folder, unpacked, say);
  say(`building the guest: kernel ${release}, initramfs, root filesystem of busybox`);
  await cp(join(unpacked, 'boot', `vmlinuz-${release}`), join(folder, 'vmlinuz'));
  await makeRamdisk({ file: join(folder, 'initrd.cpio'), init: join(sources, 'init'), unpacked, release, modules });
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

async function makeRootTree(tree: string): Promise<void> {
  for (const name of ['bin', 'sbin', 'dev', 'proc', 'sys', 'run', 'tmp', 'var', 'etc', 'mnt']) await mkdir(join(tree, name), { recursive: true });
  await cp(join(sources, 'root'), tree, { recursive: true });
  await cp(busybox, join(tree, 'bin', 'busybox'));
  for (const name of (await run(busybox, ['--list'])).trim().split('\n')) if (name !== 'busybox') await symlink('busybox', join(tree, 'bin', name));
  for (const name of ['init', 'poweroff', 'reboot']) await symlink('../bin/busybox', join(tree, 'sbin', name));
  await symlink('../run', join(tree, 'var', 'run'));
  for (const script of ['etc/rc', 'etc/block-event', 'etc/acpi/PWRF/00000080']) await chmod(join(tree, script), 0o755);
}
