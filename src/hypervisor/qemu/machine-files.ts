// Files that a machine needs before it starts: its firmware, and the place where its user wants the console.

import { existsSync, lstatSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { XvdError } from '../../base/error.ts';
import type { DomainDescription } from '../../core/types.ts';
import type { DomainFolder } from './domain-folder.ts';
import { consoleSocketOf } from './machine.ts';

/** Where distributions put a build of OVMF that is one file. */
const uefiFiles = ['/usr/share/ovmf/OVMF.fd', '/usr/share/edk2/ovmf/OVMF.fd', '/usr/share/edk2-ovmf/x64/OVMF.fd', '/usr/share/qemu/ovmf-x86_64.bin'];

/** null: the BIOS that comes with QEMU. */
export function firmwareOf({ firmware }: DomainDescription): string | null {
  if (firmware === undefined || firmware === 'bios') return null;
  const file = firmware === 'uefi' ? uefiFiles.find((path) => existsSync(path)) : firmware;
  if (file === undefined)
    throw new XvdError('NOT_SUPPORTED', 'this host has no UEFI firmware for QEMU', {
      fix: 'Install it (apt-get install ovmf), or give its file as `firmware`.',
    });
  if (!existsSync(file)) throw new XvdError('FILE_NOT_FOUND', `the firmware ${file} is not there`);
  return file;
}

/** The domain's own folder leads to the socket, wherever it is. QEMU would remove whatever bears its name: only a socket may. */
export async function prepareConsole(folder: DomainFolder, description: DomainDescription): Promise<void> {
  const path = consoleSocketOf(description);
  if (path === null) return;
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there !== undefined && !there.isSocket()) throw new XvdError('VALUE_INVALID', `console: ${path} exists and is no socket`);
  symlinkSync(path, folder.consoleSocket);
}

/** QEMU removes its socket when it ends in order; one that was killed does not. */
export function removeConsole(folder: DomainFolder): void {
  try {
    const path = readlinkSync(folder.consoleSocket);
    if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true) rmSync(path, { force: true });
  } catch {
    // There is no such link: the socket lies in the folder, and goes with it.
  }
}
