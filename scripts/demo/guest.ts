// What the demo's guest is made of: a root filesystem as a folder (busybox and an init that tells where it runs), and an
// initramfs that loads the modules of its disk and hands over to it.

import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, globSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';

/** In the order of their dependencies; a kernel that has one built in comes without its file. */
const modules = ['virtio_ring', 'virtio', 'virtio_pci_legacy_dev', 'virtio_pci_modern_dev', 'virtio_pci', 'virtio_blk', 'button', 'evdev'];
const applets = ['sh', 'mount', 'umount', 'cat', 'echo', 'sleep', 'sync', 'sed', 'uname', 'insmod', 'switch_root', 'poweroff', 'acpid', 'ls', 'df'];

export const READY = 'guest: ready';
export const LINE_FILE = 'was-here';

const init = `#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -o remount,rw /
echo "guest: Linux $(uname -r); my root is $(sed -n 's|^\\([^ ]*\\) / \\([^ ]*\\) \\([a-z]*\\).*|\\1, \\2, \\3|p' /proc/mounts)"
echo "guest: the host left me this: $(cat /etc/greeting)"
echo "written by the guest, under Linux $(uname -r)" >/${LINE_FILE}
sync
acpid -l /dev/null
echo "${READY}"
while :; do sleep 1000; done
`;

const powerButton = `#!/bin/sh
echo "guest: the power button; good night" >/dev/console
sync
mount -o remount,ro /
poweroff -f
`;

const initramfsInit = `#!/bin/sh
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for module in $(cat /modules); do insmod /lib/$module || echo "initramfs: $module does not load"; done
root=$(sed -n 's/.*\\broot=\\([^ ]*\\).*/\\1/p' /proc/cmdline)
tries=0
while [ ! -b "$root" ] && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
mount -t ext4 -o ro "$root" /sysroot || { echo "initramfs: no root at $root"; cat /proc/partitions; poweroff -f; }
umount /proc
mount --move /dev /sysroot/dev
exec switch_root /sysroot /sbin/init
`;

function writeScript(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  chmodSync(path, 0o755);
}

function installBusybox(folder: string): void {
  mkdirSync(join(folder, 'bin'), { recursive: true });
  copyFileSync('/bin/busybox', join(folder, 'bin/busybox'));
  for (const applet of applets) symlinkSync('busybox', join(folder, 'bin', applet));
}

/** Fills `folder` with the root filesystem. */
export function makeRootTree(folder: string, greeting: string): void {
  for (const name of ['proc', 'sys', 'dev', 'etc/acpi/PWRF']) mkdirSync(join(folder, name), { recursive: true });
  installBusybox(folder);
  writeFileSync(join(folder, 'etc/greeting'), `${greeting}\n`);
  writeScript(join(folder, 'sbin/init'), init);
  // What busybox's acpid runs when the power button is pressed.
  writeScript(join(folder, 'etc/acpi/PWRF/00000080'), powerButton);
}

/** Writes the initramfs to `file`, with modules of the kernel in `kernelFolder` (scripts/guest-kernel.sh). */
export function makeInitramfs(file: string, kernelFolder: string, workFolder: string): void {
  const folder = join(workFolder, 'initramfs');
  for (const name of ['proc', 'dev', 'sysroot', 'lib']) mkdirSync(join(folder, name), { recursive: true });
  installBusybox(folder);
  const found = modules.flatMap((name) => globSync(`lib/modules/*/kernel/**/${name}.ko`, { cwd: kernelFolder }).slice(0, 1));
  for (const path of found) copyFileSync(join(kernelFolder, path), join(folder, 'lib', basename(path)));
  writeFileSync(join(folder, 'modules'), found.map((path) => `${basename(path)}\n`).join(''));
  writeScript(join(folder, 'init'), initramfsInit);
  const archive = spawnSync('sh', ['-c', 'find . | cpio --quiet -o -H newc'], { cwd: folder, maxBuffer: 64 * 1024 * 1024 });
  if (archive.status !== 0) throw new Error(`cpio: ${archive.stderr.toString()}`);
  writeFileSync(file, gzipSync(archive.stdout, { level: 1 }));
}
