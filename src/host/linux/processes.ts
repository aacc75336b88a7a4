// One pass over /proc: who has block devices, or files that matter, open; and the mounts of every namespace.

import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { deviceNumber } from '../../core/device-number.ts';
import { blockNumberOf, mountsOf } from './read-layers.ts';
import type { Mount } from './mountinfo.ts';

export type OpenNode = { readonly pid: number; readonly command: string; readonly writable: boolean } & (
  | { readonly kind: 'block'; readonly number: string }
  | { readonly kind: 'file'; readonly device: string; readonly inode: number; readonly sizeBytes: number; readonly path: string }
);

export type ProcessScan = {
  readonly opens: readonly OpenNode[];
  /** Of this process. */
  readonly mounts: readonly Mount[];
  /** Of every namespace, this process's too. */
  readonly namespaces: readonly (readonly Mount[])[];
};

export type ScanOptions = {
  /** Processes that have a pipe in here open are ours, and are left out. */
  readonly runFolder: string;
  readonly ownPid: number;
  /** Regular files that matter: `DEV:INODE`. */
  readonly files: ReadonlySet<string>;
};

const passingMs = 3000;
const lookMs = 20;

/** What has a device open for a moment only is waited for, as that is nobody's use. What stays counts. */
export async function scanSettled(options: ScanOptions): Promise<ProcessScan> {
  const until = performance.now() + passingMs;
  for (;;) {
    const scan = scanProcesses(options);
    if (!scan.opens.some((open) => isUdev(open) || isOwnCommand(open)) || performance.now() > until) return scan;
    await setTimeout(lookMs);
  }
}

/** It looks at a device after every program that wrote it. */
const isUdev = ({ command }: OpenNode): boolean => /^(\(udev-worker\)|systemd-udevd|udevd)$/.test(command);

/** A command of xvd looks at labels, and what it leaves behind writes them. By name (the build's is another than the source's): who only pretends to be one is waited for, and counts. */
function isOwnCommand({ pid, command }: OpenNode): boolean {
  if (!command.startsWith('node')) return false;
  const words = (text(`/proc/${pid}/cmdline`) ?? '').split('\0');
  return words.some((word) => /\/((daemon-)?label-writer|xvd)\.(cjs|ts)$/.test(word)) && !words.includes('serve');
}

function scanProcesses(options: ScanOptions): ProcessScan {
  const mounts = mountsOf('self');
  const mayHang = slowPlaces(mounts, options.files);
  const namespaces = new Map([[quietly(() => readlinkSync('/proc/self/ns/mnt')), mounts]]);
  const opens: OpenNode[] = [];
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const thread = kernelThread(text(`/proc/${pid}/stat`) ?? '');
    if (thread?.parent === KTHREADD) continue;
    const namespace = quietly(() => readlinkSync(`/proc/${pid}/ns/mnt`));
    if (namespace !== null && !namespaces.has(namespace)) {
      const found = mountsOf(pid);
      // None: it has ended in between, and another process of that namespace tells.
      if (found.length > 0) namespaces.set(namespace, found);
    }
    if (thread === null && Number(pid) !== options.ownPid) opens.push(...opensOf(pid, options, mayHang));
  }
  return { opens, mounts, namespaces: [...namespaces.values()] };
}

/** Filesystems whose server is another process or host: asking about a file there may wait for ever. Left out, unless a file
 *  that matters lies there. */
function slowPlaces(mounts: readonly Mount[], files: ReadonlySet<string>): (path: string) => boolean {
  const matter = new Set([...files].map((file) => file.slice(0, file.lastIndexOf(':'))));
  const isSlow = ({ type, number }: Mount): boolean => /^(fuse|nfs|cifs|smb|9p|ceph|virtiofs|afs|lustre|gluster|ocfs|gfs)/.test(type) && !matter.has(number);
  const slow = mounts.filter(isSlow);
  return (path) => slow.some(({ mountPoint }) => path === mountPoint || path.startsWith(`${mountPoint}/`));
}

function opensOf(pid: string, options: ScanOptions, mayHang: (path: string) => boolean): readonly OpenNode[] {
  const process = `/proc/${pid}`;
  const own = opensIn(process, Number(pid), options, mayHang);
  // Asked afterwards, as it can have ended meanwhile.
  if (own === null || !hasNoMemory(process)) return own ?? [];
  const threads = (quietly(() => readdirSync(`${process}/task`)) ?? []).map((thread) => opensIn(`${process}/task/${thread}`, Number(pid), options, mayHang));
  return threads.includes(null) ? [] : [...own, ...threads.flatMap((opens) => opens ?? [])];
}

/** null: the process is ours. */
function opensIn(process: string, pid: number, { runFolder, files }: ScanOptions, mayHang: (path: string) => boolean): readonly OpenNode[] | null {
  const found: OpenNode[] = [];
  for (const fd of quietly(() => readdirSync(`${process}/fd`)) ?? []) {
    const place = `${process}/fd/${fd}`;
    const target = quietly(() => readlinkSync(place));
    if (target === null || !target.startsWith('/') || mayHang(target)) continue;
    const facts = quietly(() => statSync(place));
    if (facts === null) continue;
    if (facts.isFIFO() && target.startsWith(`${runFolder}/`)) return null;
    const device = deviceNumber(facts.dev);
    const matters = facts.isBlockDevice() || (facts.isFile() && files.has(`${device}:${facts.ino}`));
    const flags = matters ? openFlags(process, fd) : null;
    if (flags === null) continue;
    const head = { pid, command: commandOf(pid), writable: (flags & 3) !== 0 };
    found.push(
      facts.isBlockDevice()
        ? { ...head, kind: 'block', number: deviceNumber(facts.rdev) }
        : { ...head, kind: 'file', device, inode: facts.ino, sizeBytes: facts.size, path: target },
    );
  }
  return [...found, ...mapsOf(process, pid, files, mayHang)];
}

/** A process that is dying, which lets go of its memory before its descriptors and waits there for what it writes; or one whose first
 *  thread has ended: the others have the memory and the descriptors. */
const hasNoMemory = (process: string): boolean => text(`${process}/statm`)?.startsWith('0 ') === true;

/** PF_KTHREAD of linux/sched.h */
const KERNEL_THREAD = 0x0020_0000;
/** The parent of all kernel threads, always this where they are seen. They are in its namespaces; but for one of their number, whose own has devtmpfs alone. */
const KTHREADD = 2;

/** Of the text of `/proc/PID/stat`, null for any other process. Parent and flags are the second and seventh word behind the name, which may hold
 *  anything. Most of a host's processes are kernel threads, which have no descriptors: one look, where the others take ten. */
export function kernelThread(stat: string): { readonly parent: number } | null {
  const [, parent, , , , , flags] = stat.slice(stat.lastIndexOf(')') + 2).split(' ', 7);
  return (Number(flags ?? 0) & KERNEL_THREAD) === 0 ? null : { parent: Number(parent) };
}

/** Lines of shared mappings of what has a path. One search for what few lines have, and then a look back, over the text as it is:
 *  a process can have tens of thousands of mappings, and line by line takes six times as long. */
const SHARED_MAPPING = /(?<=^[0-9a-f]+-[0-9a-f]+) [r-]([w-])[x-]s [0-9a-f]+ ([0-9a-f]+):([0-9a-f]+) (\d+) +(\/.*)/gm;

export type SharedMapping = { readonly writable: boolean; readonly device: string; readonly inode: string; readonly path: string };

/** Of the text of `/proc/PID/maps`. */
export const sharedMappings = (maps: string): readonly SharedMapping[] =>
  Array.from(maps.matchAll(SHARED_MAPPING), ([, write, major = '', minor = '', inode = '', path = '']) => ({
    writable: write === 'w',
    device: `${Number.parseInt(major, 16)}:${Number.parseInt(minor, 16)}`,
    inode,
    path,
  }));

/** A file can be closed and still be written through a shared mapping. */
function mapsOf(process: string, pid: number, files: ReadonlySet<string>, mayHang: (path: string) => boolean): readonly OpenNode[] {
  const found: OpenNode[] = [];
  for (const { writable, device, inode, path } of sharedMappings(text(`${process}/maps`) ?? '')) {
    if (mayHang(path)) continue;
    const number = path.startsWith('/dev/') ? blockNumberOf(path) : null;
    const isFile = files.has(`${device}:${inode}`);
    if (number === null && !isFile) continue;
    const head = { pid, command: commandOf(pid), writable };
    if (number !== null) found.push({ ...head, kind: 'block', number });
    if (isFile) found.push({ ...head, kind: 'file', device, inode: Number(inode), sizeBytes: sizeOf(path), path });
  }
  return found;
}

const commandOf = (pid: number): string => text(`/proc/${pid}/comm`)?.trim() ?? '?';
/** Of a file that matters; one that was unlinked counts as endless. */
const sizeOf = (path: string): number => quietly(() => statSync(path).size) ?? Number.MAX_SAFE_INTEGER - 4095;

const O_PATH = 0o10000000;

/** null: closed in between, or opened as a name only. What can't be read counts as a writer. */
function openFlags(process: string, fd: string): number | null {
  const info = text(`${process}/fdinfo/${fd}`);
  if (info === null) return null;
  const flags = Number.parseInt(/^flags:\s+([0-7]+)/m.exec(info)?.[1] ?? '2', 8);
  return (flags & O_PATH) !== 0 ? null : flags;
}

const text = (path: string): string | null => quietly(() => readFileSync(path, 'utf8'));

function quietly<T>(body: () => T): T | null {
  try {
    return body();
  } catch {
    return null;
  }
}
