// Reads the facts of layers.ts from this host: /sys, loop devices, device-mapper tables, mounts. One for each question:
// nothing is remembered from one to the next.

import { closeSync, constants, openSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { deviceNumber } from '../../core/device-number.ts';
import type { Programs } from '../programs.ts';
import { parseLinearTable } from './dm-table.ts';
import { loopStatus } from './kernel-calls.ts';
import { devicesOfMount } from './layers.ts';
import type { FileFacts, LayerFacts, LoopBacking } from './layers.ts';
import { mountOf, parseMountinfo } from './mountinfo.ts';
import type { Mount } from './mountinfo.ts';
import { readBlockNode } from './sys-block.ts';
import type { BlockNode, SysRoots } from './sys-block.ts';

export type Layers = LayerFacts & {
  readonly mounts: readonly Mount[];
  /** Further mounts, seen in another namespace. */
  addMounts(mounts: readonly Mount[]): void;
  file(path: string): FileFacts | null;
};

export type LayerSource = {
  readonly roots: SysRoots;
  readonly programs: Programs;
  /** XVD_RUN. Loop devices on files in it are VBDs of this host. Those files are never asked anything: the process that would
   *  answer may be waiting for this one to take its connection. */
  readonly runFolder: string;
};

/** `ownMounts`: of this process, where they have just been read. */
export function readLayers(source: LayerSource, ownMounts = mountsOf('self')): Layers {
  const { roots, programs } = source;
  const nodes = new Map<string, BlockNode | null>();
  const loops = new Map<string, LoopBacking | null>();
  const all: Mount[] = [...ownMounts];
  const node = (number: string): BlockNode | null => {
    const known = nodes.get(number);
    if (known !== undefined) return known;
    const read = readBlockNode(roots, number);
    nodes.set(number, read);
    return read;
  };
  const file = (path: string): FileFacts | null => fileFacts(path, ownMounts);
  return {
    mounts: ownMounts,
    addMounts: (mounts) => void all.push(...mounts),
    node,
    file,
    loop: (number) => {
      const known = loops.get(number);
      if (known !== undefined) return known;
      const read = number.startsWith('7:') ? readLoop(source, number, ownMounts) : null;
      loops.set(number, read);
      return read;
    },
    table: async (of) => {
      try {
        return parseLinearTable((await programs.run('dmsetup', ['table', of.dm?.name ?? of.name])).stdout);
      } catch {
        return null; // what can't be told has no fixed ranges
      }
    },
    filesystemDevice: (number) => {
      if (!number.startsWith('0:')) return [number];
      const mount = all.find((candidate) => candidate.number === number && candidate.source.startsWith('/'));
      const first = mount === undefined ? [] : devicesOfMount(mount, blockNumberOf);
      return mount?.type === 'btrfs' ? [...new Set([...first, ...btrfsSiblings(roots, first, node)])] : first;
    },
  };
}

export function mountsOf(process: string): readonly Mount[] {
  try {
    return parseMountinfo(readFileSync(`/proc/${process}/mountinfo`, 'utf8'));
  } catch {
    return [];
  }
}

/** `8:3`, or null when that is no block device. */
export function blockNumberOf(path: string): string | null {
  const facts = statSync(path, { throwIfNoEntry: false });
  return facts?.isBlockDevice() === true ? deviceNumber(facts.rdev) : null;
}

function fileFacts(path: string, mounts: readonly Mount[]): FileFacts | null {
  const facts = statSync(path, { throwIfNoEntry: false });
  if (facts === undefined) return null;
  const device = deviceNumber(facts.dev);
  return { device, inode: facts.ino, sizeBytes: facts.size, filesystem: mountOf(mounts, path)?.number ?? device };
}

/** By the kernel's identity of the file; by its path where the node can't be opened or read. */
function readLoop({ roots, runFolder }: LayerSource, number: string, mounts: readonly Mount[]): LoopBacking | null {
  const folder = join(roots.sys, 'dev/block', number, 'loop');
  const path = readText(join(folder, 'backing_file'));
  if (path === null) return null;
  if (path.startsWith(`${runFolder}/`)) return { kind: 'gone', path };
  const offsetBytes = Number(readText(join(folder, 'offset')) ?? 0);
  const readOnly = readText(join(roots.sys, 'dev/block', number, 'ro')) === '1';
  const status = askLoop(join(roots.dev, `loop${number.slice(2)}`));
  if (status === 'gone') return { kind: 'gone', path };
  if (status !== null) {
    if (status.rdevice !== 0) return { kind: 'block', number: deviceNumber(status.rdevice), offsetBytes, readOnly, path };
    const device = deviceNumber(status.device);
    const there = mountOf(mounts, path)?.number;
    const size = safely(() => statSync(path, { throwIfNoEntry: false })?.size) ?? Number.MAX_SAFE_INTEGER - 4095;
    return {
      kind: 'file',
      file: { device, inode: status.inode, sizeBytes: size, filesystem: device.startsWith('0:') ? (there ?? device) : device },
      offsetBytes,
      readOnly,
      path,
    };
  }
  const file = safely(() => fileFacts(path, mounts));
  return file === null || file === undefined ? { kind: 'gone', path } : { kind: 'file', file, offsetBytes, readOnly, path };
}

function askLoop(path: string): ReturnType<typeof loopStatus> {
  const fd = safely(() => openSync(path, constants.O_RDONLY | constants.O_NONBLOCK));
  if (fd === undefined) return null;
  try {
    return loopStatus(fd);
  } finally {
    closeSync(fd);
  }
}

/** A btrfs of several devices is mounted from one of them. */
function btrfsSiblings(roots: SysRoots, first: readonly string[], node: (number: string) => BlockNode | null): readonly string[] {
  const names = new Set(first.map((number) => node(number)?.name));
  const folders = safely(() => readdirSync(join(roots.sys, 'fs/btrfs'))) ?? [];
  for (const folder of folders) {
    const place = join(roots.sys, 'fs/btrfs', folder, 'devices');
    const devices = safely(() => readdirSync(place)) ?? [];
    if (devices.some((device) => names.has(device)))
      return devices.map((device) => readText(join(place, device, 'dev')) ?? '').filter((number) => number !== '');
  }
  return [];
}

const readText = (path: string): string | null => safely(() => readFileSync(path, 'utf8').trim()) ?? null;

function safely<T>(body: () => T): T | undefined {
  try {
    return body();
  } catch {
    return undefined;
  }
}
