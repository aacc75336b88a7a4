// The one place that picks implementations. What a command may not need is loaded when it is first used, so that `xvd list`
// loads the catalog and nothing else.

import { lstatSync, statSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { CATALOG_FILE } from '../base/catalog-file.ts';
import { XvdError } from '../base/error.ts';
import { keyedQueue } from '../base/keyed-queue.ts';
import { limits } from '../base/limits.ts';
import { holdersOf } from '../app/holders-of.ts';
import { poisonVbd } from '../app/poison-vbd.ts';
import type { CatalogSystem, System } from '../app/system.ts';
import { openSqliteCatalog } from '../catalog/sqlite/open.ts';
import { generationOfNode, uuidPrefix } from '../datapath/dm/names.ts';
import type { TlsOptions } from '../datapath/nbd/tls-listener.ts';
import type { Footprint, PlanDevice } from '../core/types.ts';
import type { Host } from '../host/host.ts';
import { openPrograms } from '../host/programs.ts';
import type { Programs } from '../host/programs.ts';
import { catalogAids } from './catalog-aids.ts';
import { openClock, openRandom } from './clock.ts';
import { guardCatalog } from './label-guard.ts';
import { daemonSeemsThere } from './daemon-lock.ts';
import { writeLabelsLater } from './labels-later.ts';
import { onSameFile } from './same-file.ts';
import { socketAccess } from './socket-access.ts';

export type Folders = {
  readonly stateFolder: string;
  readonly runFolder: string;
  readonly wipeBytesPerSecond?: number | null;
  readonly idleWipes?: boolean;
  /** For a process that ends soon: labels that are due are written by another, which it leaves behind. */
  readonly labelsLater?: boolean;
  /** Spare QMP sockets of guests that xvd did not start. */
  readonly qmpFolder?: string | null;
  /** Of the Unix sockets of VBDs. */
  readonly nbdSocketMode?: string | null;
  readonly nbdSocketOwner?: string | null;
};
export type Log = (event: string, details: Readonly<Record<string, unknown>>) => void;

export const programsOf = (): Programs => openPrograms({ searchPath: process.env['PATH'] ?? '' });

/** Labels that old were left alone by the daemon, if there is one: nothing had changed, or it is stuck. */
const NEGLECTED_MS = 4 * limits.labelLagMs;

/** `unguarded` is for what mends a catalog or device that the labels contradict: recover, adopt, check. */
export type ComposedCatalog = CatalogSystem & AsyncDisposable & { readonly unguarded: CatalogSystem };

export async function composeCatalogSystem({
  stateFolder,
  runFolder,
  wipeBytesPerSecond = null,
  idleWipes = false,
  labelsLater = false,
}: Folders): Promise<ComposedCatalog> {
  requireFolder('XVD_STATE', stateFolder);
  requireFolder('XVD_RUN', runFolder);
  requireFile(join(stateFolder, CATALOG_FILE));
  const clock = openClock();
  const random = openRandom();
  const catalog = await openSqliteCatalog({ folder: stateFolder, clock, random, create: false });
  const host = lazyHost(async () => {
    const { openLinuxHost } = await import('../host/linux/open-linux-host.ts');
    const ownDmPrefix = async (): Promise<string> => uuidPrefix(await catalog.read((reader) => reader.catalogId()));
    return openLinuxHost({ programs: programsOf(), runFolder, stateFolder, ownDmPrefix, wipeBytesPerSecond, idleWipes });
  });
  const unguarded: CatalogSystem = { catalog, host, clock, random, hostName: hostname(), ...catalogAids(random) };
  const work = { stateFolder, runFolder };
  const guarded = guardCatalog(
    unguarded,
    labelsLater ? async (ageMs) => (ageMs < NEGLECTED_MS && daemonSeemsThere(stateFolder)) || writeLabelsLater(work) : null,
  );
  return { ...unguarded, catalog: guarded, unguarded, [Symbol.asyncDispose]: () => guarded[Symbol.asyncDispose]() };
}

/** A folder that is not there yet is made when it is needed. */
function requireFolder(variable: string, path: string): void {
  const facts = statSync(path, { throwIfNoEntry: false });
  if (facts === undefined && path !== dirname(path)) return requireFolder(variable, dirname(path));
  if (facts?.isDirectory() === false) throw new XvdError('VALUE_INVALID', `${path} is no folder`, { fix: `Set ${variable} to a folder.` });
}

/** A link that leads nowhere must not read as no catalog: what it lies on may only be missing for now. */
function requireFile(path: string): void {
  const facts = lstatSync(path, { throwIfNoEntry: false });
  if (facts === undefined || facts.isFile()) return;
  const there = facts.isSymbolicLink() ? statUnlessCircle(path) : facts;
  if (there?.isFile() === true) return;
  const what = there === null ? 'a link that leads nowhere' : 'no regular file';
  throw new XvdError('VALUE_INVALID', `the catalog ${path} is ${what}`, { fix: 'Bring back what it is to lead to, or set XVD_STATE to another folder.' });
}

function statUnlessCircle(path: string): Stats | null {
  try {
    return statSync(path);
  } catch {
    return null;
  }
}

/** For the daemon: with data paths and hypervisors. */
export type ComposedSystem = System &
  ComposedCatalog & { readonly listenNbd: (tls: Omit<TlsOptions, 'program'>) => Promise<{ readonly host: string; readonly port: number }> };

export async function composeSystem(folders: Folders, log: Log): Promise<ComposedSystem> {
  // Its threads also do what must not wait for wiping, such as a fence.
  const composed = await composeCatalogSystem({ ...folders, idleWipes: false });
  const catalogFile = join(folders.stateFolder, CATALOG_FILE);
  const unguarded = { ...composed.unguarded, catalog: onSameFile(composed.unguarded.catalog, catalogFile) };
  const base = { ...composed, catalog: onSameFile(composed.catalog, catalogFile), unguarded };
  const { runFolder } = folders;
  const [{ openNbdDataPath }, { dmLacks, openDmDataPath }, { openThisHost }, { openQemu }, { openXen }, { openSyscalls }, { openQemuImages }] =
    await Promise.all([
      import('../datapath/nbd/nbd-data-path.ts'),
      import('../datapath/dm/dm-data-path.ts'),
      import('../hypervisor/this-host/open-this-host.ts'),
      import('../hypervisor/qemu/qemu.ts'),
      import('../hypervisor/xen/xen.ts'),
      import('../host/syscalls.ts'),
      import('../image/qemu/open-qemu-images.ts'),
    ]);
  const syscalls = openSyscalls();
  const programs = openPrograms({ searchPath: process.env['PATH'] ?? '', syscalls });
  const verify = (device: PlanDevice, fd: number): Promise<void> => base.host.verify(device, fd);
  const nbd = openNbdDataPath({
    runFolder,
    connectionProgram: new URL('../datapath/nbd/connection.ts', import.meta.url).pathname,
    nodePath: process.execPath,
    socketAccess: await socketAccess({ nbdSocketMode: null, nbdSocketOwner: null, ...folders }, programs),
    spareProcesses: limits.nbdSpareProcesses,
    verify,
    syscalls,
    onPoisoned(generation, reason) {
      poisonVbd(base, generation, reason).catch((error: unknown) => log('nbd.poison-not-recorded', { generation, reason: String(error) }));
    },
    log,
  });
  const tlsProgram = new URL('../datapath/nbd/tls-connection.ts', import.meta.url).pathname;
  const dmMissing = dmLacks(programs);
  const catalogId = (): Promise<string> => base.catalog.read((reader) => reader.catalogId());
  const dm = dmMissing === null ? [openDmDataPath({ catalogId, programs, verify, syscalls, holdersOf: (path) => holdersOf(base, path), log })] : [];
  if (dmMissing !== null) log('dm.not-here', { reason: dmMissing });
  const thisHost = await openThisHost({ runFolder, programs, users: () => base.host.users() });
  const footprintOf = async (path: string): Promise<Footprint> => (await base.host.inspect(path, { signatures: false })).footprint;
  const qemu = openQemu({ runFolder, programs, foreignFolder: folders.qmpFolder ?? null, footprintOf, log: (message) => log('qemu', { message }) });
  const xen = openXen({
    runFolder,
    programs,
    generationOf: async (node) => generationOfNode(node, await catalogId()),
    footprintOf: (path) => footprintOf(path).catch(() => null),
    log: (message) => log('xen', { message }),
  });
  return {
    ...base,
    dataPaths: [...dm, nbd],
    hypervisors: [thisHost, qemu, xen],
    queue: keyedQueue(),
    images: openQemuImages({ programs, runFolder }),
    copies: new Map(),
    listenNbd: (tls) => nbd.listen({ ...tls, program: tlsProgram }),
    async [Symbol.asyncDispose]() {
      for (const part of [xen, qemu, thisHost, nbd, base]) await part[Symbol.asyncDispose]();
    },
  };
}

/** A host that is opened at the first question. */
function lazyHost(open: () => Promise<Host>): Host {
  let opened: Promise<Host> | null = null;
  const host = (): Promise<Host> => (opened ??= open());
  return {
    inspect: async (path, options) => (await host()).inspect(path, options),
    users: async () => (await host()).users(),
    verify: async (device, fd) => (await host()).verify(device, fd),
    zero: async (device, ranges, progress, signal) => (await host()).zero(device, ranges, progress, signal),
    readBytes: async (device, range) => (await host()).readBytes(device, range),
    writeBytes: async (device, offset, data) => (await host()).writeBytes(device, offset, data),
    settle: async (device, ranges) => (await host()).settle(device, ranges),
    claim: async (spaces) => (await host()).claim(spaces),
    holdAlive: async (pipe) => (await host()).holdAlive(pipe),
    aliveIsGone: async (pipe) => (await host()).aliveIsGone(pipe),
    forgetAlive: async (pipe) => (await host()).forgetAlive(pipe),
    alivePipes: async (prefix) => (await host()).alivePipes(prefix),
    bootId: async () => (await host()).bootId(),
    blockDevices: async () => (await (await host()).blockDevices?.()) ?? [],
  };
}
