// All facts of one block device or regular file.

import { accessSync, constants, readFileSync } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { XvdError } from '../../base/error.ts';
import { bytes, SECTOR_BYTES, sectors } from '../../base/units.ts';
import { deviceNumber } from '../../core/device-number.ts';
import type { DeviceIdentity, Footprint, SectorRange } from '../../core/types.ts';
import type { DeviceFacts } from '../host.ts';
import { identityOfBlock } from './identity.ts';
import { filesystemId } from './kernel-calls.ts';
import { footprintOfFile, footprintOfNode, rangesOverlap } from './layers.ts';
import { blockNumberOf, readLayers } from './read-layers.ts';
import type { Layers, LayerSource } from './read-layers.ts';
import { mountOf } from './mountinfo.ts';
import { readSignatures } from './signatures.ts';
import { parseSwaps } from './swaps.ts';
import type { BlockNode, SysRoots } from './sys-block.ts';
import { twinsOf } from './twins.ts';

export type InspectOptions = LayerSource & {
  /** Of the catalog: what it stands on is part of the system. */
  readonly stateFolder: string | null;
  /** Whether to look for them. */
  readonly signatures: boolean;
  readonly twins: boolean;
};

export async function inspectPath(options: InspectOptions, given: string): Promise<DeviceFacts> {
  const path = await canonical(options.roots, given);
  const facts = await stat(path).catch((error: unknown) => {
    throw asXvdError(error as NodeJS.ErrnoException, path);
  });
  const layers = readLayers(options);
  if (facts.isBlockDevice()) return inspectBlock(options, layers, deviceNumber(facts.rdev), path);
  if (facts.isFile()) return inspectFile(options, layers, path, { sizeBytes: facts.size, blocks: facts.blocks, inode: facts.ino });
  throw new XvdError('DEVICE_NOT_FOUND', `${path} is neither a block device nor a regular file`);
}

/** `sda3` is `/dev/sda3`; links are followed. */
async function canonical(roots: SysRoots, given: string): Promise<string> {
  const path = given.startsWith('/') ? given : `${roots.dev}/${given}`;
  return realpath(path).catch((error: unknown) => {
    throw asXvdError(error as NodeJS.ErrnoException, path);
  });
}

export function asXvdError(error: NodeJS.ErrnoException, path: string): XvdError {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR' || error.code === 'ENXIO' || error.code === 'ENODEV')
    return new XvdError('DEVICE_NOT_FOUND', `${path} does not exist`, { cause: error });
  if (error.code === 'EACCES' || error.code === 'EPERM' || error.code === 'EROFS')
    return new XvdError('NOT_PERMITTED', `${path} can't be opened: ${error.message}`, { cause: error });
  return new XvdError('DEVICE_FAILED', `${path}: ${error.message}`, { cause: error });
}

async function inspectBlock(options: InspectOptions, layers: Layers, number: string, path: string): Promise<DeviceFacts> {
  const node = layers.node(number);
  if (node === null) throw new XvdError('DEVICE_NOT_FOUND', `${path} is a node of a device that the kernel does not have (${number})`);
  const drive = node.partition === null ? node : (layers.node(node.partition.drive) ?? node);
  const footprint = await footprintOfNode(layers, number);
  const sizeBytes = node.sizeSectors * SECTOR_BYTES;
  return {
    path: node.path,
    kind: 'block',
    sizeBytes: bytes(sizeBytes),
    logicalBlockBytes: node.logicalBlockBytes,
    physicalBlockBytes: node.physicalBlockBytes,
    identity: identityOfBlock(node),
    drivePath: drive.path,
    driveStartSector: sectors(node.partition?.startSector ?? 0),
    footprint,
    readOnly: node.readOnly,
    sparse: false,
    copyOnWrite: false,
    holdsSystem: await holdsSystem(options, layers, footprint),
    signatures: options.signatures ? await readSignatures(options.programs, path, sizeBytes) : [],
    twins: options.twins ? twinsOf(options.roots, node).map((twin) => twin.path) : [],
  };
}

type FileStat = { readonly sizeBytes: number; readonly blocks: number; readonly inode: number };

async function inspectFile(options: InspectOptions, layers: Layers, path: string, { sizeBytes, blocks, inode }: FileStat): Promise<DeviceFacts> {
  const file = layers.file(path);
  if (file === null) throw new XvdError('DEVICE_NOT_FOUND', `${path} does not exist`);
  const footprint = await footprintOfFile(layers, file);
  const under = underFile(layers, file.filesystem);
  return {
    path,
    kind: 'file',
    sizeBytes: bytes(sizeBytes),
    logicalBlockBytes: SECTOR_BYTES,
    physicalBlockBytes: under?.physicalBlockBytes ?? 4096,
    identity: identityOfFile(path, inode),
    drivePath: path,
    driveStartSector: sectors(0),
    footprint,
    readOnly: isReadOnly(layers, path),
    sparse: blocks * 512 < sizeBytes,
    copyOnWrite: COPY_ON_WRITE.has(filesystemId(path)?.type ?? 0),
    holdsSystem: await holdsSystem(options, layers, footprint),
    signatures: options.signatures ? await readSignatures(options.programs, path, sizeBytes) : [],
    twins: [],
  };
}

/** statfs types of btrfs, ZFS, bcachefs, F2FS, NILFS. */
const COPY_ON_WRITE: ReadonlySet<number> = new Set([0x9123683e, 0x2fc12fc1, 0xca451a4e, 0xf2f52010, 0x3434]);

export function identityOfFile(path: string, inode: number): DeviceIdentity {
  const found = filesystemId(path);
  return found === null ? { kind: 'path', path } : { kind: 'file', filesystem: `${found.type.toString(16)}:${found.id}`, inode };
}

const underFile = (layers: Layers, filesystem: string): BlockNode | null => {
  const [number] = layers.filesystemDevice(filesystem);
  return number === undefined ? null : layers.node(number);
};

function isReadOnly(layers: Layers, path: string): boolean {
  if (mountOf(layers.mounts, path)?.writable === false) return true;
  try {
    accessSync(path, constants.W_OK);
    return false;
  } catch {
    return true;
  }
}

const SYSTEM_MOUNTS = new Set(['/', '/usr', '/var', '/boot', '/boot/efi', '/etc']);

/** The filesystems that the system and the catalog live on, and swap. Found by number, so `/dev/root` is no matter (F20). */
async function holdsSystem({ stateFolder }: InspectOptions, layers: Layers, footprint: Footprint): Promise<boolean> {
  const numbers = new Set(layers.mounts.filter((mount) => SYSTEM_MOUNTS.has(mount.mountPoint)).flatMap((mount) => layers.filesystemDevice(mount.number)));
  const state = stateFolder === null ? null : mountOf(layers.mounts, stateFolder);
  for (const number of state === null ? [] : layers.filesystemDevice(state.number)) numbers.add(number);
  const system: SectorRange[] = [];
  for (const { path, isFile } of parseSwaps(readFileSync('/proc/swaps', 'utf8'))) {
    const file = isFile ? layers.file(path) : null;
    const number = isFile ? null : blockNumberOf(path);
    if (number !== null) numbers.add(number);
    if (file !== null) system.push(...(await footprintOfFile(layers, file)).own);
  }
  for (const number of numbers) {
    const { own, below } = await footprintOfNode(layers, number);
    system.push(...own, ...below);
  }
  // What the device itself stands on is no matter: a loop device on a file of the root filesystem is not the root filesystem.
  return footprint.own.some((range) => system.some((other) => rangesOverlap(range, other)));
}
