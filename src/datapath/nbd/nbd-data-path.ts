// The NBD data path: for each VBD a Unix socket, for each connection a process. The daemon only accepts and starts; it can
// end, and be started again, while connections go on. Revoking is ending the processes, with the pipe and the lock as the proof.

import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { close, closeSync, constants, existsSync, openSync, readFileSync, rmSync, watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { join } from 'node:path';
import { XvdError } from '../../base/error.ts';
import { keyedQueue } from '../../base/keyed-queue.ts';
import type { KeyedQueue } from '../../base/keyed-queue.ts';
import { limits } from '../../base/limits.ts';
import type { Endpoint, Generation, VbdPlan } from '../../core/types.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import type { DataPath, DataPathStats } from '../datapath.ts';
import { endLost, endProcesses } from './end-processes.ts';
import { openDevices, openWitnesses, takeDevices } from './open-devices.ts';
import type { TakenDevices, VerifyDevice } from './open-devices.ts';
import { forgetProcess, livingProcesses, recordProcess } from './process-records.ts';
import { countedIn, requestsOf } from './read-counters.ts';
import { makeSpares } from './spare-processes.ts';
import type { Spares } from './spare-processes.ts';
import { descriptorOf, ENVIRONMENT, NODE_OPTIONS } from './start-process.ts';
import { listenTls } from './tls-listener.ts';
import type { TlsListener, TlsOptions } from './tls-listener.ts';
import { generationsIn, makeFolder, openTo, pipeIsGone, removeFolder, vbdFolder, withMemory } from './vbd-folder.ts';
import type { SocketAccess, VbdFolder } from './vbd-folder.ts';
import { sharedPageBytes } from './shared-page.ts';

export type NbdOptions = {
  /** XVD_RUN. */
  readonly runFolder: string;
  /** Path of connection.ts, or of what it was bundled to. */
  readonly connectionProgram: string;
  /** Who may connect to the sockets; absent = who runs the daemon. */
  readonly socketAccess?: SocketAccess | null;
  /** The Node that runs it. */
  readonly nodePath: string;
  /** Processes kept ready for clients to come, while a VBD is served; absent = none. */
  readonly spareProcesses?: number;
  /** A connection without a request for so long gives up its memory (parked.ts); 0 = never; absent = limits.nbdParkAfterMs. */
  readonly parkAfterMs?: number;
  readonly verify: VerifyDevice;
  readonly syscalls: Syscalls | null;
  /** Called once for each VBD that can't keep what it acknowledged: a write-back failed. Also at open(), when that was before. */
  readonly onPoisoned?: (generation: Generation, reason: string) => void;
  readonly log: (event: string, details: Readonly<Record<string, unknown>>) => void;
};

/** What accepting needs; `open` ends when the VBD is let go. */
type Accepting = { readonly plan: VbdPlan; readonly folder: VbdFolder; readonly fds: readonly number[]; open: boolean };
/** `inTurn`: a connection is started when the one before it has its socket, so that it can be asked whether its client is there still. */
type Starting = NbdOptions & { readonly parkAfterMs: number; readonly spares: Spares; readonly inTurn: KeyedQueue };
type Served = { readonly vbd: Accepting; readonly server: Server; readonly watcher: FSWatcher };

/** `listen`: serves what is open over TCP too, with TLS and client certificates, until the data path is disposed of. */
export type NbdDataPath = DataPath & { listen(tls: TlsOptions): Promise<{ readonly host: string; readonly port: number }> };

export function openNbdDataPath(options: NbdOptions): NbdDataPath {
  const served = new Map<Generation, Served>();
  const { nodePath, connectionProgram, syscalls, log, spareProcesses = 0, parkAfterMs = limits.nbdParkAfterMs } = options;
  const requests = (): number => [...served.values()].reduce((sum, { vbd }) => sum + requestsOf(vbd.folder.counters), 0);
  const spares = makeSpares({ nodePath, connectionProgram, runFolder: options.runFolder, parkAfterMs, syscalls, requests, log, wanted: spareProcesses });
  const starting: Starting = { ...options, parkAfterMs, spares, inTurn: keyedQueue() };
  const listeners: TlsListener[] = [];
  return {
    driver: 'nbd',
    async listen(tls) {
      const listener = await listenTls(tls, {
        nodePath,
        log,
        syscalls,
        exports: () => [...served.values()].map(({ vbd }) => ({ exportName: vbd.plan.exportName, folder: vbd.folder.path, descriptors: vbd.fds.length })),
        handOver: (folder, child, send) => handOverTo(starting, served, folder, child, send),
      });
      listeners.push(listener);
      return listener.address;
    },
    async open(plan) {
      starting.spares.fill();
      const folder = vbdFolder(options.runFolder, plan.generation);
      if (!served.has(plan.generation)) served.set(plan.generation, await serve(starting, plan, folder));
      return endpointOf(plan, folder);
    },
    async close(generation) {
      const folder = vbdFolder(options.runFolder, generation);
      const open = served.get(generation);
      if (open !== undefined) letGo(open);
      served.delete(generation);
      if (served.size === 0) starting.spares.end();
      rmSync(folder.socket, { force: true });
      await endProcesses(folder, options.syscalls);
      removeFolder(folder);
    },
    async isGone(generation) {
      const folder = vbdFolder(options.runFolder, generation);
      return (
        !existsSync(folder.path) ||
        (existsSync(folder.alive) && existsSync(folder.shared) && pipeIsGone(folder.alive) && withMemory(folder, syscalls).length === 0)
      );
    },
    list: async () => generationsIn(options.runFolder),
    stats: async (generation) => statsOf(vbdFolder(options.runFolder, generation)),
    /** The connections go on: they are ended by close() only. */
    async [Symbol.asyncDispose]() {
      for (const listener of listeners) listener.close();
      starting.spares.end();
      for (const open of served.values()) letGo(open);
      served.clear();
    },
  };
}

export function endpointOf(plan: VbdPlan, folder: VbdFolder): Endpoint {
  const uri = `nbd+unix:///${encodeURIComponent(plan.exportName)}?socket=${encodeURIComponent(folder.socket).replaceAll('%2F', '/')}`;
  return { kind: 'nbd', uri, socketPath: folder.socket, exportName: plan.exportName };
}

/** From the file that the connections count in: they are not asked, nor slowed. */
function statsOf(folder: VbdFolder): DataPathStats | null {
  const counted = countedIn(folder.counters);
  return counted === null ? null : { connections: livingProcesses(folder).length, ...counted };
}

/** What a connection process is given, in its order (placesOf). `living`: processes that have it all, or will soon. */
async function openAll(options: Starting, plan: VbdPlan, living: readonly number[]): Promise<number[]> {
  let taken: TakenDevices | null = null;
  for (const pid of living) taken ??= takeDevices(plan, pid, options.syscalls);
  const devices = taken?.devices ?? (await openDevices(plan, options.verify));
  let witnesses = taken?.witnesses ?? [];
  try {
    if (plan.mode === 'w' && witnesses.length === 0) witnesses = openWitnesses(devices);
    return [...devices, ...heldBesides(options, plan), ...witnesses];
  } catch (error) {
    for (const fd of [...devices, ...witnesses]) closeSync(fd);
    throw error;
  }
}

function heldBesides({ runFolder }: Starting, { pipe }: VbdPlan): number[] {
  return pipe === undefined ? [] : [openSync(join(runFolder, pipe), constants.O_RDWR | constants.O_NONBLOCK)];
}

/** The socket is its owner's only, from the first moment: it is bound before listen() returns. */
function listenClosed(server: Server, path: string, listening: () => void): void {
  const mask = process.umask(0o177);
  try {
    server.listen(path, listening);
  } finally {
    process.umask(mask);
  }
}

async function serve(options: Starting, plan: VbdPlan, folder: VbdFolder): Promise<Served> {
  const fds = await openAll(options, plan, livingProcesses(folder));
  const vbd: Accepting = { plan, folder, fds, open: true };
  const server = createServer({ pauseOnConnect: true }, (socket) => void options.inTurn(folder.path, () => accept(options, vbd, socket)));
  server.maxConnections = limits.nbdAccepted;
  const listening = Promise.withResolvers<void>();
  try {
    makeFolder(folder, plan, sharedPageBytes(plan.segments.length), options.syscalls);
    rmSync(folder.socket, { force: true });
    listenClosed(server.once('error', listening.reject), folder.socket, listening.resolve);
    await listening.promise;
    openTo(folder, options.runFolder, options.socketAccess ?? null);
  } catch (error) {
    server.close();
    for (const fd of fds) closeSync(fd);
    if (error instanceof XvdError) throw error;
    throw new XvdError('INTERNAL', `the socket ${folder.socket} can't be listened on: ${(error as Error).message}`, { cause: error });
  }
  server.on('error', (error) => options.log('nbd.socket-failed', { generation: plan.generation, reason: error.message }));
  return { vbd, server, watcher: watchPoison(options, plan, folder) };
}

function watchPoison(options: NbdOptions, plan: VbdPlan, folder: VbdFolder): FSWatcher {
  let told = false;
  const look = (): void => {
    if (told || !existsSync(folder.poisoned)) return;
    const reason = readFileSync(folder.poisoned, 'utf8');
    // Made first and filled then: its second event comes.
    if (reason === '') return;
    told = true;
    options.log('nbd.poisoned', { generation: plan.generation, reason });
    options.onPoisoned?.(plan.generation, reason);
  };
  const watcher = watch(folder.path, { persistent: false }, look);
  watcher.on('error', (error) => options.log('nbd.watch-failed', { generation: plan.generation, reason: error.message }));
  look();
  return watcher;
}

async function accept(options: Starting, vbd: Accepting, socket: Socket): Promise<void> {
  const { folder, plan, fds } = vbd;
  try {
    await admit(options, vbd, async ({ log, alive, begin }) => {
      if (socket.destroyed) return;
      const handover = { folder: folder.path, socket: descriptorOf(socket), log, alive, devices: fds };
      const served = options.spares.handOver(handover, begin);
      if (served === null) startProcess(options, [socket, socket, log, alive, ...fds], folder, begin);
      else await served;
    });
  } catch (error) {
    options.log('nbd.connection-refused', { generation: plan.generation, reason: (error as Error).message });
  } finally {
    // Closes our descriptor only: the process has its own, and the connection goes on.
    socket.destroy();
  }
}

/** A process that has its client already, and has been let in by it. false: the VBD is no longer served. */
async function handOverTo(options: Starting, all: ReadonlyMap<Generation, Served>, path: string, child: ChildProcess, send: Send): Promise<boolean> {
  const vbd = [...all.values()].find((one) => one.vbd.folder.path === path)?.vbd;
  if (vbd === undefined) return false;
  return options.inTurn(path, () =>
    admit(options, vbd, async ({ log, alive, begin }) => {
      begin(child);
      send([log, alive, ...vbd.fds]);
    }),
  );
}

type Send = (descriptors: readonly number[]) => void;
type Admitted = { readonly log: number; readonly alive: number; readonly begin: (child: ChildProcess) => void };

/** Lets one more connection in, when the lost ones are proved gone; `begin` is called before its process can touch anything. */
async function admit(options: Starting, vbd: Accepting, body: (admitted: Admitted) => Promise<void>): Promise<boolean> {
  const { folder, plan } = vbd;
  const { generation } = plan;
  await endLost(folder, options.syscalls);
  if (livingProcesses(folder).length >= limits.nbdConnectionsPerVbd) {
    options.log('nbd.too-many-connections', { generation });
    return false;
  }
  // close() may have come meanwhile: after its proof no process may start.
  if (!vbd.open) return false;
  const begin = (child: ChildProcess): void => {
    child.once('exit', (code, signal) => {
      if (child.pid !== undefined) forgetProcess(folder, child.pid);
      if (code !== 0 && signal !== 'SIGKILL') options.log('nbd.connection-ended', { generation, code, signal });
    });
    try {
      if (child.pid !== undefined) recordProcess(folder, child.pid);
    } catch (error) {
      // What is not on record could not be ended.
      child.kill('SIGKILL');
      throw error;
    }
  };
  // Read and write, as a pipe without a reader can't be opened for writing alone; held from before the process exists.
  const alive = openSync(folder.alive, constants.O_RDWR | constants.O_NONBLOCK);
  const log = openSync(folder.log, 'a', 0o600);
  try {
    await body({ log, alive, begin });
    return true;
  } finally {
    closeSync(alive);
    closeSync(log);
  }
}

function startProcess(options: Starting, stdio: (Socket | number)[], folder: VbdFolder, begin: (child: ChildProcess) => void): void {
  const child = spawn(options.nodePath, [...NODE_OPTIONS, options.connectionProgram, folder.path, String(options.parkAfterMs)], {
    stdio,
    detached: true,
    env: ENVIRONMENT,
    cwd: '/',
  });
  child.once('error', (error) => options.log('nbd.connection-failed', { vbd: folder.path, reason: error.message }));
  child.unref();
  begin(child);
}

/** Takes no more connections, and closes our descriptors; what is connected goes on. */
function letGo({ vbd, server, watcher }: Served): void {
  vbd.open = false;
  watcher.close();
  // Not waited for: a client that is being handed over holds it up, and its process may hang.
  server.close();
  // Nor are the devices: whoever closes one last writes back what its cache holds, and waits for it.
  for (const fd of vbd.fds) close(fd, () => {});
}
