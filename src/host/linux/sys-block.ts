// What the kernel tells of block devices in /sys and udev's database. Names decide nothing (F8): a device is its number,
// and /sys says what it is part of and what it stands on. The roots are parameters, so that trees of other machines can be tested.

import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

export type SysRoots = {
  readonly sys: string;
  readonly udev: string;
  readonly dev: string;
};

export const realRoots: SysRoots = { sys: '/sys', udev: '/run/udev/data', dev: '/dev' };

export type BlockNode = {
  /** `8:3` */
  readonly number: string;
  /** The kernel's name: `sda3`, `dm-0`, `cciss!c0d0`. */
  readonly name: string;
  readonly path: string;
  readonly sizeSectors: number;
  readonly logicalBlockBytes: number;
  readonly physicalBlockBytes: number;
  readonly readOnly: boolean;
  /** Of a partition: its drive and where it starts on it. */
  readonly partition: { readonly drive: string; readonly startSector: number; readonly partUuid: string | null } | null;
  /** Numbers of the devices that it stands on, and that stand on it. */
  readonly slaves: readonly string[];
  readonly holders: readonly string[];
  readonly dm: { readonly name: string; readonly uuid: string } | null;
  readonly wwn: string | null;
  readonly serial: string | null;
};

const text = (path: string): string | null => {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return null;
  }
};
const names = (path: string): string[] => {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
};

/** null when the kernel has no such block device. Most questions are about what stands on what: the rest is read when it is asked for, once. */
export function readBlockNode(roots: SysRoots, number: string): BlockNode | null {
  const folder = folderOf(roots, number);
  if (folder === null) return null;
  const name = basename(folder);
  const ofDrive = existsSync(`${folder}/partition`);
  const drive = ofDrive ? dirname(folder) : folder;
  const number_ = (path: string): string => text(`${path}/dev`) ?? '';
  const numbersIn = (kind: string): string[] =>
    names(`${folder}/${kind}`)
      .map((other) => number_(`${folder}/${kind}/${other}`))
      .filter((found) => found !== '');
  const udev = once(() => readUdev(roots, number));
  const blockBytes = (kind: string): number => Number(text(`${drive}/queue/${kind}_block_size`) ?? 512);
  const readOnly = once(() => text(`${folder}/ro`) === '1');
  // The kernel lets nothing be made of parts below a partition.
  const slaves = once(() => (ofDrive ? [] : numbersIn('slaves')));
  const holders = once(() => numbersIn('holders'));
  return {
    number,
    name,
    path: join(roots.dev, name.replaceAll('!', '/')),
    sizeSectors: Number(text(`${folder}/size`) ?? 0),
    get logicalBlockBytes() {
      return blockBytes('logical');
    },
    get physicalBlockBytes() {
      return blockBytes('physical');
    },
    get readOnly() {
      return readOnly();
    },
    partition: !ofDrive
      ? null
      : {
          drive: number_(drive),
          startSector: Number(text(`${folder}/start`) ?? 0),
          get partUuid() {
            return partUuid(folder, udev());
          },
        },
    get slaves() {
      return slaves();
    },
    get holders() {
      return holders();
    },
    dm: existsSync(`${folder}/dm`) ? { name: text(`${folder}/dm/name`) ?? name, uuid: text(`${folder}/dm/uuid`) ?? '' } : null,
    get wwn() {
      return firstOf(text(`${drive}/wwid`), text(`${drive}/device/wwid`), udev().get('ID_WWN_WITH_EXTENSION'), udev().get('ID_WWN'));
    },
    get serial() {
      return firstOf(text(`${drive}/serial`), text(`${drive}/device/cid`), text(`${drive}/device/serial`), udev().get('ID_SERIAL'), udev().get('MD_UUID'));
    },
  };
}

/** Where /sys/dev/block leads: the folder of the device itself, a partition's in its drive's. */
function folderOf(roots: SysRoots, number: string): string | null {
  const links = join(roots.sys, 'dev/block');
  try {
    return join(links, readlinkSync(join(links, number)));
  } catch {
    return null;
  }
}

function once<T>(read: () => T): () => T {
  let known: { readonly value: T } | null = null;
  return () => (known ??= { value: read() }).value;
}

/** Numbers of all block devices: drives, partitions and what stands on them. */
export const allBlockNumbers = (roots: SysRoots): readonly string[] => names(join(roots.sys, 'dev/block'));

/** Has no sectors, so nobody uses any: most loop and NBD devices of a host. One look, where all facts take a dozen. */
export const isEmpty = (roots: SysRoots, number: string): boolean => text(join(roots.sys, 'dev/block', number, 'size')) === '0';

/** One look, too. */
export const isPartition = (roots: SysRoots, number: string): boolean => existsSync(join(roots.sys, 'dev/block', number, 'partition'));

function firstOf(...values: readonly (string | null | undefined)[]): string | null {
  return values.find((value) => value !== null && value !== undefined && value !== '') ?? null;
}

/** udev's database: lines `E:KEY=value` in `b8:3`. */
function readUdev(roots: SysRoots, number: string): ReadonlyMap<string, string> {
  const lines = (text(join(roots.udev, `b${number}`)) ?? '').split('\n');
  return new Map(
    lines.flatMap((line) => {
      const match = /^E:([^=]+)=(.*)$/.exec(line);
      return match === null ? [] : [[match[1] ?? '', match[2] ?? ''] as const];
    }),
  );
}

function partUuid(folder: string, udev: ReadonlyMap<string, string>): string | null {
  const uevent = /^PARTUUID=(.+)$/m.exec(text(join(folder, 'uevent')) ?? '')?.[1];
  return firstOf(uevent, udev.get('ID_PART_ENTRY_UUID'));
}
