// The kernel's own NBD client as the block device of a VBD, by nbd-client. It stays as a process while it is connected, and that
// process is how a connection is found again: its arguments name the VBD's socket, and /sys names the process. Nothing else
// says whose a device is, so a crash leaves nothing to guess.

import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { XvdError } from '../../base/error.ts';
import { deviceNumber } from '../../core/device-number.ts';
import type { SectorUser } from '../../core/types.ts';
import type { Programs } from '../../host/programs.ts';
import { flush, openExclusively } from './loop-device.ts';

export type KernelNbdOptions = {
  readonly socketPath: string;
  readonly exportName: string;
  readonly writable: boolean;
  readonly blockBytes: number;
  /** Files named after devices that are VBDs: udev's rules look for them (daemon/udev-rules.ts). */
  readonly nodesFolder: string;
  readonly users: () => Promise<readonly SectorUser[]>;
};

const READY_MS = 10_000;
const ROUND_MS = 10;
/** Requests that get no answer for that long fail, and the connection is made anew. */
const TIMEOUT_SECONDS = 120;

export type KernelNbd = { readonly node: string; readonly pid: number };

/**
 * null, or why it can't be used. The module is loaded if need be. One that reads partition tables is left alone: guests write them.
 */
export async function kernelNbdLacks(programs: Programs): Promise<string | null> {
  if (programs.find('nbd-client') === null) return 'nbd-client is not installed';
  if ((await readNumber('/sys/module/nbd/parameters/max_part')) === null && programs.find('modprobe') !== null)
    await programs.run('modprobe', ['nbd', 'max_part=0', 'nbds_max=64']).catch(() => undefined);
  const partitions = await readNumber('/sys/module/nbd/parameters/max_part');
  if (partitions === null) return 'the kernel has no NBD client';
  return partitions === 0 ? null : `the nbd module reads partition tables (max_part=${partitions})`;
}

async function readNumber(path: string): Promise<number | null> {
  const text = await readFile(path, 'utf8').catch(() => null);
  return text === null ? null : Number(text);
}

/** The connection to that socket; null when there is none. */
export async function findKernelNbd(socketPath: string): Promise<KernelNbd | null> {
  for (const name of await nbdNames()) {
    const pid = await readNumber(`/sys/block/${name}/pid`);
    if (pid === null) continue;
    const args = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
    if (args[0]?.endsWith('nbd-client') === true && args.includes(socketPath)) return { node: `/dev/${name}`, pid };
  }
  return null;
}

const nbdNames = async (): Promise<readonly string[]> => (await readdir('/sys/block')).filter((name) => /^nbd\d+$/.test(name));

/** Connects a free device; HYPERVISOR_FAILED when none can be had. */
export async function connectKernelNbd(programs: Programs, options: KernelNbdOptions): Promise<KernelNbd> {
  let reason = 'every device is in use';
  for (const name of await nbdNames()) {
    if (!(await isFree(name, options.users))) continue;
    try {
      return await connectTo(programs, name, options);
    } catch (error) {
      await disconnectKernelNbd(options.socketPath, options.nodesFolder);
      await forgetNode(options.nodesFolder, name);
      reason = error instanceof Error ? error.message : String(error);
    }
  }
  throw new XvdError('HYPERVISOR_FAILED', `no kernel NBD device can be connected: ${reason}`, { fix: 'Load the nbd module with more devices (nbds_max).' });
}

/** One that was pulled away from its user is not taken: what its user still writes would reach the next VBD. */
async function isFree(name: string, users: () => Promise<readonly SectorUser[]>): Promise<boolean> {
  if ((await readNumber(`/sys/block/${name}/pid`)) !== null || (await readNumber(`/sys/block/${name}/size`)) !== 0) return false;
  const facts = await stat(`/dev/${name}`).catch(() => null);
  if (facts === null) return false;
  const space = `drive:${deviceNumber(facts.rdev)}`;
  return !(await users()).some(({ footprint }) => footprint.own.some((range) => range.space === space));
}

async function connectTo(programs: Programs, name: string, options: KernelNbdOptions): Promise<KernelNbd> {
  const { socketPath, exportName, writable, blockBytes, nodesFolder } = options;
  await mkdir(nodesFolder, { recursive: true, mode: 0o700 });
  await writeFile(join(nodesFolder, name), exportName, { mode: 0o600 });
  const mode = writable ? [] : ['-readonly'];
  const behaviour = ['-nonetlink', '-persist', '-block-size', String(blockBytes), '-timeout', String(TIMEOUT_SECONDS)];
  await programs.run('nbd-client', ['-unix', socketPath, '-name', exportName, ...behaviour, ...mode, `/dev/${name}`], { flusher: true });
  for (const end = Date.now() + READY_MS; Date.now() < end; await delay(ROUND_MS)) {
    const found = await findKernelNbd(socketPath);
    if (found !== null && ((await readNumber(`/sys/block/${name}/size`)) ?? 0) > 0) return found;
  }
  throw new XvdError('HYPERVISOR_FAILED', `nbd-client did not connect /dev/${name}`);
}

/** Flushes what is written, then disconnects. Held exclusively meanwhile, so that nobody mounts it: VBD_BUSY when somebody has. */
export async function detachKernelNbd({ node }: KernelNbd, socketPath: string, nodesFolder: string, flushMs: number): Promise<void> {
  const handle = await openExclusively(node);
  try {
    await flush(handle.sync(), node, flushMs);
    await disconnectKernelNbd(socketPath, nodesFolder);
  } finally {
    void handle.close().catch(() => undefined);
  }
}

/** Ends the connection at once: what is under way fails. Returns when it is gone; nothing to do when there is none. */
export async function disconnectKernelNbd(socketPath: string, nodesFolder: string): Promise<void> {
  for (const end = Date.now() + READY_MS; ; await delay(ROUND_MS)) {
    const found = await findKernelNbd(socketPath);
    if (found === null) return;
    if (Date.now() > end) throw new XvdError('FENCE_UNPROVED', `nbd-client (pid ${found.pid}) of ${found.node} does not end`);
    try {
      process.kill(found.pid, 'SIGKILL');
    } catch {
      // It ended in between.
    }
    await forgetNode(nodesFolder, found.node.slice('/dev/'.length));
  }
}

const forgetNode = (nodesFolder: string, name: string): Promise<void> => rm(join(nodesFolder, name), { force: true });
