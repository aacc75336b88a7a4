// The host as Linux tells of it. Facts are read anew at each call; the one thing remembered is which files were asked about,
// because looking at every file that every process has open would be in nobody's interest.

import { constants, realpathSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { limits } from '../../base/limits.ts';
import { deviceNumber } from '../../core/device-number.ts';
import type { Host } from '../host.ts';
import type { Programs } from '../programs.ts';
import { aliveIsGone, alivePipes, forgetAlive, holdAlive } from './alive.ts';
import { claimSpaces } from './claim.ts';
import { readDevice, writeDevice } from './device-bytes.ts';
import { inspectPath } from './inspect.ts';
import { withDevice } from './open-device.ts';
import type { LayerSource } from './read-layers.ts';
import { readUsers } from './read-users.ts';
import { settleDevice } from './settle.ts';
import { listBlockDevices } from './list-block-devices.ts';
import { realRoots } from './sys-block.ts';
import type { SysRoots } from './sys-block.ts';
import { zeroDevice } from './zero.ts';

export type LinuxHostOptions = {
  readonly programs: Programs;
  /** XVD_RUN: holds the pipes that prove who is gone. */
  readonly runFolder: string;
  /** XVD_STATE; what it stands on is part of the system. null where there is none. */
  readonly stateFolder?: string | null;
  /** How the UUIDs of device-mapper devices of our VBDs begin, left out of users() and settle(): the catalog tells of them, and their
   *  data path fences them. Those of another catalog are users like any other. */
  readonly ownDmPrefix?: () => Promise<string>;
  /** Budget of zero(), so that wiping leaves the device to its users; null = as fast as it goes. */
  readonly wipeBytesPerSecond?: number | null;
  /** settle() gives up a device that takes nothing for so long; absent = limits.fenceMs. */
  readonly stallMs?: number;
  /** zero() at the idle I/O priority. */
  readonly idleWipes?: boolean;
  readonly roots?: SysRoots;
};

/** Files and nodes that were asked about, and are worth looking for among the users; far more than any pool has. */
const REMEMBERED = 4096;

export function openLinuxHost(options: LinuxHostOptions): Host {
  const {
    programs,
    runFolder,
    stateFolder = null,
    ownDmPrefix = async () => 'XVD-',
    wipeBytesPerSecond = null,
    idleWipes = false,
    roots = realRoots,
  } = options;
  const { stallMs = limits.fenceMs } = options;
  const source = (): LayerSource => ({ roots, programs, runFolder: realFolder(runFolder) });
  const files = new Set<string>();
  const nodes = new Set<string>();
  const remember = (path: string): void => {
    const facts = statSync(path, { throwIfNoEntry: false });
    if (facts === undefined) return;
    if (facts.isFile()) keepLast(files, `${deviceNumber(facts.dev)}:${facts.ino}`);
    else keepLast(nodes, deviceNumber(facts.rdev));
  };
  return {
    inspect: async (path, { signatures = true, twins = signatures } = {}) => {
      const facts = await inspectPath({ ...source(), stateFolder, signatures, twins }, path);
      remember(facts.path);
      return facts;
    },
    users: async () => readUsers({ ...source(), isOurDm: startsWith(await ownDmPrefix()), files, nodes, ownPid: process.pid }),
    verify: (device, fd) =>
      withDevice(roots, device, constants.O_RDONLY | constants.O_DIRECT, async () => undefined, fd === undefined ? device.path : `/proc/self/fd/${fd}`),
    zero: (device, ranges, progress, signal) =>
      zeroDevice(device, ranges, {
        roots,
        wipeBytesPerSecond,
        idle: idleWipes,
        ...(progress === undefined ? {} : { progress }),
        ...(signal === undefined ? {} : { signal }),
      }),
    readBytes: (device, range) => readDevice(roots, device, range),
    writeBytes: (device, offsetBytes, data) => writeDevice(roots, device, offsetBytes, data),
    settle: async (device, ranges) => settleDevice({ ...source(), isOurDm: startsWith(await ownDmPrefix()), stallMs }, device, ranges),
    claim: (spaces) => claimSpaces(runFolder, spaces),
    holdAlive: (pipe) => holdAlive(runFolder, pipe),
    aliveIsGone: (pipe) => aliveIsGone(runFolder, pipe),
    forgetAlive: (pipe) => forgetAlive(runFolder, pipe),
    alivePipes: (prefix) => alivePipes(runFolder, prefix),
    blockDevices: async () => listBlockDevices(roots),
    bootId: async () => (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim(),
  };
}

const startsWith =
  (prefix: string) =>
  (uuid: string): boolean =>
    uuid.startsWith(prefix);

function keepLast(known: Set<string>, value: string): void {
  known.delete(value);
  known.add(value);
  const [oldest] = known;
  if (known.size > REMEMBERED && oldest !== undefined) known.delete(oldest);
}

function realFolder(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
