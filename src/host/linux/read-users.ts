// Everybody on this host who uses sectors, as the kernel tells now: mounts of every namespace, swap, holders, loop devices and
// processes. What can't be resolved counts as a writer of all that it may stand on.

import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { sectors } from '../../base/units.ts';
import type { Footprint, SectorUser } from '../../core/types.ts';
import { driveSpace, filesystemSpace, footprintBelow, footprintOfFile, footprintOfNode, rangesOverlap } from './layers.ts';
import { parseSwaps } from './swaps.ts';
import type { Mount } from './mountinfo.ts';
import { scanSettled } from './processes.ts';
import type { OpenNode, ScanOptions } from './processes.ts';
import { blockNumberOf, readLayers } from './read-layers.ts';
import type { Layers, LayerSource } from './read-layers.ts';
import { allBlockNumbers, isEmpty, isPartition } from './sys-block.ts';

export type UsersOptions = ScanOptions &
  LayerSource & {
    /** Device-mapper devices of xvd, by UUID: VBDs, which the catalog tells of. */
    readonly isOurDm: (uuid: string) => boolean;
    /** Block devices that were asked about: whether the kernel holds them for somebody who shows nowhere else. */
    readonly nodes: ReadonlySet<string>;
  };

export async function readUsers(options: UsersOptions): Promise<readonly SectorUser[]> {
  const { opens, mounts: ownMounts, namespaces } = await scanSettled(options);
  const layers = readLayers(options, ownMounts);
  for (const mounts of namespaces) layers.addMounts(mounts);
  const footprints = new Map<string, Promise<Footprint>>();
  const ofNode = (number: string): Promise<Footprint> => {
    const known = footprints.get(number) ?? footprintOfNode(layers, number);
    footprints.set(number, known);
    return known;
  };
  // Before all stacks are looked at: one that is made in between is found by that look, or counts as hidden. The other way round
  // it would be there too late for the one and too early for the other.
  const heldOpenly = new Set(withPartitions(options, layers).filter((number) => (layers.node(number)?.holders.length ?? 0) > 0));
  const users = [
    ...(await mountUsers(options, layers, namespaces.flat(), ofNode)),
    ...(await swapUsers(options, layers, ofNode)),
    ...(await stackUsers(options, layers)),
    ...(await processUsers(layers, opens, ofNode)),
  ];
  return [...users, ...(await hiddenHolders(options, layers, { users, heldOpenly }, ofNode))];
}

/** What else the kernel holds refuses to be opened exclusively, and counts as a writer. Read-only, or udev would wake. */
async function hiddenHolders(
  options: UsersOptions,
  layers: Layers,
  { users, heldOpenly }: { readonly users: readonly SectorUser[]; readonly heldOpenly: ReadonlySet<string> },
  ofNode: (number: string) => Promise<Footprint>,
): Promise<SectorUser[]> {
  const hidden: SectorUser[] = [];
  for (const number of withPartitions(options, layers)) {
    const node = layers.node(number);
    if (node === null || heldOpenly.has(number)) continue;
    const footprint = await ofNode(number);
    const [itself] = footprint.own; // not what it stands on: others may hold that
    const isKnown = users.some((user) => user.footprint.own.some((theirs) => itself !== undefined && rangesOverlap(itself, theirs)));
    if (!isKnown && isHeldExclusively(node.path)) hidden.push({ kind: 'holder', name: `${node.path} (held exclusively)`, mode: 'w', footprint });
  }
  return hidden;
}

/** A drive is held by whoever holds one of its partitions: the partitions tell which. */
function withPartitions({ nodes, roots }: UsersOptions, layers: Layers): readonly string[] {
  const partitions = allBlockNumbers(roots).filter((number) => isPartition(roots, number) && nodes.has(layers.node(number)?.partition?.drive ?? ''));
  return [...new Set([...partitions, ...nodes])];
}

function isHeldExclusively(path: string): boolean {
  try {
    closeSync(openSync(path, constants.O_RDONLY | constants.O_EXCL | constants.O_NONBLOCK));
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EBUSY';
  }
}

/** A filesystem that is writable writes even where all its mounts are read-only: its own state decides. */
async function mountUsers(
  options: UsersOptions,
  layers: Layers,
  mounts: readonly Mount[],
  ofNode: (number: string) => Promise<Footprint>,
): Promise<SectorUser[]> {
  const withoutDevice = typesWithoutDevice();
  const seen = new Map<string, SectorUser>();
  for (const mount of mounts) {
    const key = `${mount.number} ${mount.mountPoint}`;
    if (seen.has(key)) continue;
    const devices = layers.filesystemDevice(mount.number).filter((number) => layers.node(number) !== null);
    const unresolved = devices.length === 0 && !withoutDevice.has(mount.type) && !isFileBacked(mount);
    if (devices.length === 0 && !unresolved) continue;
    const footprint = unresolved ? everything(options, layers) : merge(await Promise.all(devices.map(ofNode)));
    seen.set(key, {
      kind: 'mount',
      name: mount.mountPoint,
      mode: mount.superWritable || unresolved ? 'w' : 'r',
      footprint,
      carries: filesystemSpace(mount.number),
    });
  }
  return [...seen.values()];
}

/** FUSE, overlay and their like: what they stand on is somebody else's, told by itself. */
const isFileBacked = ({ type }: Mount): boolean => type.startsWith('fuse.') || type === 'fuse' || type === 'overlay';

function typesWithoutDevice(): ReadonlySet<string> {
  const lines = readFileSync('/proc/filesystems', 'utf8').split('\n');
  const types = new Set(lines.filter((line) => line.startsWith('nodev\t')).map((line) => line.slice(6).trim()));
  for (const stacked of ['btrfs', 'zfs', 'bcachefs']) types.delete(stacked);
  return types;
}

function everything(options: UsersOptions, layers: Layers): Footprint {
  const drives = allBlockNumbers(options.roots).flatMap((number) => {
    const node = layers.node(number);
    return node === null || node.partition !== null ? [] : [{ space: driveSpace(number), startSector: sectors(0), sectors: sectors(node.sizeSectors) }];
  });
  return { own: drives, below: [] };
}

function merge(footprints: readonly Footprint[]): Footprint {
  return {
    own: footprints.flatMap(({ own }) => own),
    below: footprints.flatMap(({ below }) => below),
    via: footprints.flatMap(({ via }) => via ?? []),
  };
}

async function swapUsers(options: UsersOptions, layers: Layers, ofNode: (number: string) => Promise<Footprint>): Promise<SectorUser[]> {
  const users: SectorUser[] = [];
  for (const { path, isFile } of parseSwaps(readFileSync('/proc/swaps', 'utf8'))) {
    const number = isFile ? null : blockNumberOf(path);
    const file = isFile ? layers.file(path) : null;
    const footprint = number !== null ? await ofNode(number) : file !== null ? await footprintOfFile(layers, file) : null;
    users.push({ kind: 'swap', name: path, mode: 'w', footprint: footprint ?? everything(options, layers) });
  }
  return users;
}

/** What the kernel stacked on other devices: a loop device on its file, device-mapper, RAID and LVM on their parts. */
async function stackUsers({ roots, isOurDm }: UsersOptions, layers: Layers): Promise<SectorUser[]> {
  const users: SectorUser[] = [];
  for (const number of allBlockNumbers(roots)) {
    if (isEmpty(roots, number)) continue;
    const node = layers.node(number);
    if (node === null || node.partition !== null || isOurDm(node.dm?.uuid ?? '')) continue;
    const loop = layers.loop(number);
    if (loop === null && node.slaves.length === 0) continue;
    const footprint = await footprintBelow(layers, number);
    if (footprint.own.length === 0) continue; // the data path of a VBD, or what stands on nothing any more
    const mode = (loop !== null && loop.kind !== 'gone' && loop.readOnly) || node.readOnly ? 'r' : 'w';
    const name = node.dm === null ? node.path : `/dev/mapper/${node.dm.name}`;
    users.push({
      kind: loop === null ? 'holder' : 'loop',
      name: loop === null ? name : `${node.path} on ${loop.path}`,
      mode,
      footprint,
      carries: driveSpace(number),
    });
  }
  return users;
}

async function processUsers(layers: Layers, opens: readonly OpenNode[], ofNode: (number: string) => Promise<Footprint>): Promise<SectorUser[]> {
  const users = new Map<string, SectorUser>();
  for (const open of opens) {
    const mode = open.writable ? 'w' : 'r';
    const key = `${open.pid} ${mode} ${open.kind === 'block' ? open.number : `${open.device} ${open.inode}`}`;
    if (users.has(key)) continue;
    const footprint =
      open.kind === 'block'
        ? await ofNode(open.number)
        : await footprintOfFile(layers, { ...open, filesystem: layers.file(open.path)?.filesystem ?? open.device });
    users.set(key, { kind: 'process', name: `${open.command} (pid ${open.pid})`, mode, footprint });
  }
  return [...users.values()];
}
