// Builds the lab's machine: a root disk with Debian's kernel, Xen, the storage tools and Node, and the initramfs that starts it.
// Kept outside the checkout, under the user's cache folder, by what it is made from; a second call only looks.

import { createHash, randomUUID } from 'node:crypto';
import { cp, mkdir, readFile, readdir, rename, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { ensureGuest } from '../demo/guest.ts';
import { makeRamdisk, moduleFiles, run } from '../demo/ramdisk.ts';
import { uncompressedKernel } from './kernel.ts';

/** `rootDisk` is an ext4 image that nobody writes to; the machines write to a snapshot of it. */
export type LabImage = { readonly rootDisk: string; readonly ramdisk: string; readonly kernel: string; readonly xen: string };

const here = import.meta.dirname;

/** Debian 12: the cloud kernel can't be domain 0, so it is the general one. */
const packages = [
  ...['linux-image-amd64', 'xen-hypervisor-4.17-amd64', 'xen-utils-4.17', 'xen-utils-common', 'xenstore-utils'],
  ...[
    'dmsetup',
    'lvm2',
    'fdisk',
    'gdisk',
    'nbd-client',
    'e2fsprogs',
    'kmod',
    'udev',
    'util-linux',
    'mount',
    'fuse3',
    'qemu-utils',
    'qemu-system-common',
    'fio',
  ],
  ...['bash', 'coreutils', 'sed', 'grep', 'gawk', 'findutils', 'diffutils', 'hostname', 'tar', 'gzip', 'procps', 'iproute2', 'strace', 'busybox-static'],
  ...['libstdc++6', 'libatomic1'],
];
/** Of some 4,000 modules these, and what they stand on, stay in the image. */
const rootModules = [
  ...['dm-mod', 'dm-snapshot', 'dm-crypt', 'dm-thin-pool', 'dm-delay', 'dm-flakey', 'nbd', 'loop', 'fuse', 'raid1', 'scsi_debug', 'sd_mod', 'null_blk'],
  ...[
    'ext4',
    'xfs',
    'virtio_blk',
    'virtio_net',
    'xenfs',
    'xen-evtchn',
    'xen-gntdev',
    'xen-gntalloc',
    'xen-privcmd',
    'xen-blkback',
    'xen-blkfront',
    'button',
    'evdev',
  ],
];
const machineModules = ['virtio_pci', 'virtio_blk', 'ext4'];
const xenGuestModules = ['xen-blkfront', 'ext4'];
const unneeded = [
  'usr/share/doc',
  'usr/share/man',
  'usr/share/locale',
  'usr/share/info',
  'usr/share/i18n',
  'usr/lib/x86_64-linux-gnu/gconv',
  'var/lib/apt',
  'var/cache',
];

const keepMs = 7 * 86_400_000;
const cacheFolder = (): string => join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'xvd-lab');

export async function ensureImage(say: (line: string) => void): Promise<LabImage> {
  const folder = join(cacheFolder(), await contentHash());
  const image = { rootDisk: join(folder, 'root.img'), ramdisk: join(folder, 'initrd.cpio'), kernel: join(folder, 'vmlinux'), xen: join(folder, 'xen') };
  if (await markUsed(folder)) return image;
  await mkdir(cacheFolder(), { recursive: true });
  const building = `${folder}.${randomUUID().slice(0, 8)}`;
  try {
    await build(building, say);
    await rename(building, folder).catch((error: unknown) => {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error; // else another process was first
    });
    await removeUnused();
    return image;
  } finally {
    await run('rm', ['-rf', building]);
  }
}

/** The time of its last use is that of its mark; false when there is no such image. */
async function markUsed(folder: string): Promise<boolean> {
  const now = new Date();
  return utimes(join(folder, 'complete'), now, now).then(
    () => true,
    () => false,
  );
}

/** Images take 1 GB each: those that nobody used for a week go when a new one is made. */
async function removeUnused(): Promise<void> {
  for (const name of await readdir(cacheFolder())) {
    const mark = await stat(join(cacheFolder(), name, 'complete')).catch(() => null);
    if (mark !== null && Date.now() - mark.mtimeMs > keepMs) await run('rm', ['-rf', join(cacheFolder(), name)]);
  }
}

async function contentHash(): Promise<string> {
  // The folder of the demo's guest has its own content in its name.
  const hash = createHash('sha256')
    .update(process.version)
    .update(basename(dirname((await ensureGuest()).rootTree)));
  const sources = [import.meta.filename, join(here, 'kernel.ts'), join(here, 'inside', 'init')];
  for (const path of sources) hash.update(await readFile(path));
  return hash.digest('hex').slice(0, 16);
}

async function build(folder: string, say: (line: string) => void): Promise<void> {
  await mkdir(folder, { recursive: true });
  const tree = join(folder, 'tree');
  say('lab: unpacking the packages of the image (about 130 MB to fetch, a minute)');
  await unpackPackages(tree);
  const [release = ''] = await readdir(join(tree, 'lib', 'modules'));
  await writeFile(join(folder, 'vmlinux'), uncompressedKernel(await readFile(join(tree, 'boot', `vmlinuz-${release}`))));
  const xen = (await readdir(join(tree, 'boot'))).find((name) => /^xen-.*\.gz$/.test(name));
  if (xen === undefined) throw new Error('lab: no Xen in the package');
  await run('sh', ['-c', 'gzip -dc "$0" >"$1"', join(tree, 'boot', xen), join(folder, 'xen')]);
  await makeRamdisk({ file: join(folder, 'initrd.cpio'), init: join(here, 'inside', 'init'), unpacked: tree, release, modules: machineModules });
  await addXenGuest(tree, folder, release);
  await pruneModules(tree, release);
  await addNode(tree);
  for (const path of [...unneeded, 'boot']) await rm(join(tree, path), { recursive: true, force: true });
  await addAccounts(tree);
  say('lab: making the root disk');
  await run('mke2fs', ['-q', '-t', 'ext4', '-O', '^has_journal', '-m', '0', '-d', tree, join(folder, 'root.img'), '1500M']);
  await run('rm', ['-rf', tree]);
  await writeFile(join(folder, 'complete'), `${release}\n`);
}

/** Unpacked only: no script of a package runs, so it takes neither root nor a running system. */
async function unpackPackages(tree: string): Promise<void> {
  const options = ['Acquire::Check-Valid-Until "false"', 'Acquire::Check-Date "false"', 'APT::Install-Recommends "false"'].map(
    (option) => `--aptopt=${option}`,
  );
  const mode = process.getuid?.() === 0 ? 'root' : 'unshare';
  const hook = '/usr/share/mmdebstrap/hooks/merged-usr';
  await run('mmdebstrap', [
    '--quiet',
    `--mode=${mode}`,
    '--variant=extract',
    `--hook-dir=${hook}`,
    ...options,
    `--include=${packages.join(',')}`,
    'bookworm',
    tree,
  ]);
}

/** The guest of the demo, with the drivers of Xen: the tests find it in /guest. */
async function addXenGuest(tree: string, folder: string, release: string): Promise<void> {
  const guest = await ensureGuest();
  const place = join(tree, 'guest');
  await mkdir(place, { recursive: true });
  await cp(join(folder, 'vmlinux'), join(place, 'vmlinux'));
  await makeRamdisk({ file: join(place, 'initrd.cpio'), init: join(here, '..', 'demo', 'guest', 'init'), unpacked: tree, release, modules: xenGuestModules });
  await cp(guest.rootTree, join(place, 'root'), { recursive: true, verbatimSymlinks: true });
}

async function pruneModules(tree: string, release: string): Promise<void> {
  const kept = await moduleFiles(tree, release, rootModules);
  const folder = join(tree, 'lib', 'modules', release);
  const keptTree = join(tree, 'modules');
  for (const path of kept) await cp(path, join(keptTree, path.slice(path.indexOf('/kernel/'))), { recursive: true });
  await rm(join(folder, 'kernel'), { recursive: true });
  await rename(join(keptTree, 'kernel'), join(folder, 'kernel'));
  await rm(keptTree, { recursive: true });
  await run('depmod', ['-b', tree, release]);
}

async function addNode(tree: string): Promise<void> {
  await cp(process.execPath, join(tree, 'usr', 'local', 'bin', 'node'));
}

/** What the scripts of the packages would have made. */
async function addAccounts(tree: string): Promise<void> {
  const groups = [
    'root:0',
    'daemon:1',
    'tty:5',
    'disk:6',
    'lp:7',
    'dialout:20',
    'cdrom:24',
    'floppy:25',
    'tape:26',
    'audio:29',
    'video:44',
    'kmem:15',
    'input:104',
    'sgx:106',
    'kvm:105',
    'render:107',
  ];
  await writeFile(join(tree, 'etc', 'passwd'), 'root:x:0:0:root:/root:/bin/bash\n');
  await writeFile(
    join(tree, 'etc', 'group'),
    groups
      .map((entry) => entry.replace(':', ':x:'))
      .map((entry) => `${entry}:\n`)
      .join(''),
  );
  await rm(join(tree, 'etc', 'mtab'), { force: true });
  await symlink('/proc/mounts', join(tree, 'etc', 'mtab'));
  for (const [link, file] of [
    ['awk', 'gawk'],
    ['sh', 'bash'],
  ] as const)
    await symlink(file, join(tree, 'usr', 'bin', link)).catch(() => undefined);
}
