// Domain 0: this host itself. A block endpoint gets a link at the target name; an NBD endpoint is first made a block device
// by the kernel's NBD client, or where it has none by qemu-storage-daemon (a file through FUSE) and a loop device. Every step can be repeated, and is recorded before it is
// taken. By force, I/O is made to fail first; mounts of others are left to them, since writing below them would be worse.

import { access, constants, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { XvdError } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import type { Generation, SectorUser } from '../../core/types.ts';
import type { Programs } from '../../host/programs.ts';
import type { DomainFacts, Hypervisor, Plug, Plugged, Unplug } from '../hypervisor.ts';
import { connectKernelNbd, detachKernelNbd, disconnectKernelNbd, findKernelNbd, kernelNbdLacks } from './kernel-nbd.ts';
import { abandonLoop, attachLoop, detachLoop, findLoops, flush, openExclusively } from './loop-device.ts';
import { plugRecords } from './plug-record.ts';
import type { PlugRecord, PlugRecords } from './plug-record.ts';
import { endStorageDaemon, exportAnswers, findStorageDaemons, startStorageDaemon, unmountExport } from './storage-daemon.ts';
import { lookAt, makeLink, removeLink, taken } from './target-link.ts';
import { refuseBusy } from './users-of-node.ts';

export type ThisHostOptions = {
  /** XVD_RUN: state is kept in its folder `dom0`. */
  readonly runFolder: string;
  readonly programs: Programs;
  /** Who uses sectors on this host (Host.users): tells whether a VBD is mounted, and where. */
  readonly users: () => Promise<readonly SectorUser[]>;
  /** How long an unplug waits for what was written to be flushed. */
  readonly flushMs?: number;
};

type Context = ThisHostOptions & {
  readonly records: PlugRecords;
  readonly bootId: string;
  readonly flushMs: number;
  /** Asked once: null, or why the kernel's NBD client can't be used. */
  readonly kernelNbdLacks: () => Promise<string | null>;
};

export async function openThisHost(options: ThisHostOptions): Promise<Hypervisor> {
  const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  let asked: Promise<string | null> | null = null;
  const context: Context = {
    ...options,
    records: plugRecords(options.runFolder),
    bootId,
    flushMs: options.flushMs ?? limits.fenceMs,
    kernelNbdLacks: () => (asked ??= kernelNbdLacks(options.programs)),
  };
  const here: DomainFacts = { name: '0', id: '0', hypervisor: 'host', state: 'running' };
  const noDomains = (): never => {
    throw new XvdError('NOT_SUPPORTED', 'domain 0 is this host: it is not started or stopped by xvd');
  };
  return {
    name: 'host',
    available: () => available(context),
    domains: async () => [here],
    find: async (domain) => (domain === '0' ? here : null),
    plug: (plug) => plugIn(context, plug),
    unplug: (unplug) => takeOut(context, unplug),
    plugged: () => plugged(context),
    foreignUsers: async () => [],
    start: async () => noDomains(),
    stop: async () => noDomains(),
    console: async () => noDomains(),
    watchEnds: () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  };
}

async function available(context: Context): Promise<{ available: boolean; reason: string }> {
  if (process.getuid?.() !== 0) return { available: false, reason: 'attaching to this host needs root' };
  if ((await context.kernelNbdLacks()) === null) return { available: true, reason: '' };
  const lacks: string[] = [];
  for (const node of ['/dev/fuse', '/dev/loop-control']) await access(node, constants.R_OK | constants.W_OK).catch(() => lacks.push(node));
  for (const name of ['qemu-storage-daemon', 'losetup'] as const) if (context.programs.find(name) === null) lacks.push(name);
  return { available: true, reason: lacks.length === 0 ? '' : `only block devices can be attached: ${lacks.join(', ')} missing` };
}

async function plugIn(context: Context, plug: Plug): Promise<Plugged> {
  requireRoot();
  const { records, bootId } = context;
  const { generation, target, mode, endpoint, blockBytes = 512 } = plug;
  // One look at the records: each is several waits for a thread, at every attach.
  const known = await recordsOfThisBoot(context);
  await refuseTaken(known, plug);
  const before = known.find((each) => each.generation === generation);
  const linkTo = endpoint.kind === 'block' ? endpoint.path : null;
  let record: PlugRecord = before ?? { generation, bootId, target, mode, blockBytes, endpoint, linkTo };
  await records.write(record);
  try {
    const device = endpoint.kind === 'block' ? endpoint.path : await makeDevice(context, record);
    if (record.linkTo !== device) {
      await removeLink(target, record.linkTo);
      record = { ...record, linkTo: device };
      await records.write(record);
    }
    await makeLink(target, device);
    return { devicePath: target };
  } catch (error) {
    await undo(context, record).catch(() => undefined);
    throw error;
  }
}

function requireRoot(): void {
  if (process.getuid?.() !== 0)
    throw new XvdError('NOT_PERMITTED', 'attaching to this host needs root', {
      fix: 'Run the daemon as root, or attach to a name with --driver nbd and connect to its uri.',
    });
}

async function refuseTaken(known: readonly PlugRecord[], { generation, target }: Plug): Promise<void> {
  if (known.some((other) => other.target === target && other.generation !== generation))
    throw new XvdError('TARGET_TAKEN', `${target} of domain 0 is another VBD`);
  const there = await lookAt(target);
  const mine = known.find((record) => record.generation === generation)?.linkTo ?? null;
  if (there !== null && there !== mine) throw taken(target);
}

/** A block device over the NBD endpoint, by the kernel where it can; what is there of it already is taken over if it still answers. */
async function makeDevice(context: Context, record: PlugRecord): Promise<string> {
  const { programs, records } = context;
  const { generation, endpoint, mode, blockBytes } = record;
  if (endpoint.kind !== 'nbd') throw new XvdError('INTERNAL', 'only an NBD endpoint needs a device made');
  const { socketPath, exportName } = endpoint;
  const connected = await findKernelNbd(socketPath);
  if (connected !== null) return connected.node;
  const exportFile = records.exportFile(generation);
  const pidFile = pidFileOf(context, generation);
  const writable = mode === 'w';
  const running = (await findStorageDaemons(pidFile)).length === 1 && (await exportAnswers(exportFile));
  if (!running) {
    await undoDevice(context, record);
    if ((await context.kernelNbdLacks()) === null) {
      const options = { socketPath, exportName, writable, blockBytes, nodesFolder: records.nodesFolder, users: context.users };
      return (await connectKernelNbd(programs, options)).node;
    }
    await startStorageDaemon(programs, { socketPath, exportName, writable, exportFile, pidFile });
  }
  const [loop] = await findLoops(exportFile);
  return loop ?? (await attachLoop(programs, { file: exportFile, writable, blockBytes }));
}

const pidFileOf = ({ records }: Context, generation: Generation): string => join(records.folder(generation), 'storage-daemon.pid');

async function takeOut(context: Context, { generation, target, force }: Unplug): Promise<void> {
  const { records } = context;
  const record = await records.read(generation);
  if (record === null) return;
  requireRoot();
  if (force) return undo(context, record);
  await letGo(context, record, target);
  await records.remove(generation);
}

/** What was written is flushed; VBD_BUSY while somebody uses it. */
async function letGo(context: Context, record: PlugRecord, target: string): Promise<void> {
  const { programs, records, users, flushMs } = context;
  const { generation, endpoint, linkTo } = record;
  if (endpoint.kind === 'block') {
    await refuseBusy(users, endpoint.path, target);
    await flushNode(context, endpoint.path);
    return removeLink(record.target, linkTo);
  }
  const exportFile = records.exportFile(generation);
  const connected = await findKernelNbd(endpoint.socketPath);
  const loops = await findLoops(exportFile);
  if (connected !== null) await refuseBusy(users, connected.node, target, connected.pid);
  for (const loop of loops) await refuseBusy(users, loop, target);
  if (connected !== null) await detachKernelNbd(connected, endpoint.socketPath, records.nodesFolder, flushMs);
  for (const loop of loops) await detachLoop(programs, loop, exportFile, flushMs);
  await removeLink(record.target, linkTo);
  await endStorageDaemon(pidFileOf(context, generation), false);
  await unmountExport(programs, exportFile);
}

async function flushNode({ flushMs }: Context, path: string): Promise<void> {
  if ((await stat(path).catch(() => null)) === null) return;
  const handle = await openExclusively(path);
  try {
    await flush(handle.sync(), path, flushMs);
  } finally {
    void handle.close().catch(() => undefined);
  }
}

/** By force, and after a plug that failed: the name goes first, then I/O is made to fail, then the devices go. */
async function undo(context: Context, record: PlugRecord): Promise<void> {
  await removeLink(record.target, record.linkTo);
  await undoDevice(context, record);
  await context.records.remove(record.generation);
}

async function undoDevice(context: Context, { generation, endpoint }: PlugRecord): Promise<void> {
  if (endpoint.kind !== 'nbd') return;
  await disconnectKernelNbd(endpoint.socketPath, context.records.nodesFolder);
  const exportFile = context.records.exportFile(generation);
  await endStorageDaemon(pidFileOf(context, generation), true);
  for (const loop of await findLoops(exportFile)) await abandonLoop(context.programs, loop);
  await unmountExport(context.programs, exportFile);
}

/** All of which anything is left, whole or half: what is half is completed by plug() or removed by unplug(). */
async function plugged(context: Context): Promise<readonly Generation[]> {
  return (await recordsOfThisBoot(context)).map((record) => record.generation);
}

/** Links, loop devices and processes end with the boot; a folder that is not on a tmpfs stays. */
async function recordsOfThisBoot({ records, bootId }: Context): Promise<readonly PlugRecord[]> {
  const all = await records.list();
  for (const record of all) if (record.bootId !== bootId) await records.remove(record.generation);
  return all.filter((record) => record.bootId === bootId);
}
