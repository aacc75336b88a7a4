// The NBD data path: for each VBD a Unix socket, for each connection a process. The daemon only accepts and starts; it can
// end, and be started again, while connections go on. Revoking is ending the processes, with the pipe as the proof.

import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, constants, existsSync, openSync, readSync, rmSync, chmodSync } from 'node:fs';
import { createServer, Socket } from 'node:net';
import type { Server } from 'node:net';
import { XvdError } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import type { Endpoint, Generation, VbdPlan } from '../../core/types.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import type { DataPath, DataPathStats } from '../datapath.ts';
import { openDevices, takeDevices } from './open-devices.ts';
import type { VerifyDevice } from './open-devices.ts';
import { forgetProcess, generationsIn, livingProcesses, makeFolder, pipeIsGone, readsEnd, recordProcess, removeFolder, vbdFolder } from './vbd-folder.ts';
import type { VbdFolder } from './vbd-folder.ts';
import { COUNTERS_BYTES, countersOf, sharedPageBytes } from './shared-page.ts';

export type NbdOptions = {
  /** XVD_RUN. */
  readonly runFolder: string;
  /** Path of connection.ts, or of what it was bundled to. */
  readonly connectionProgram: string;
  /** The Node that runs it. */
  readonly nodePath: string;
  readonly verify: VerifyDevice;
  readonly syscalls: Syscalls | null;
  readonly log: (event: string, details: Readonly<Record<string, unknown>>) => void;
};

type Served = { readonly plan: VbdPlan; readonly folder: VbdFolder; readonly server: Server; readonly fds: readonly number[]; readonly children: Set<ChildProcess> };

export function openNbdDataPath(options: NbdOptions): DataPath {
  const served = new Map<Generation, Served>();
  return {
    driver: 'nbd',
    async open(plan) {
      const folder = vbdFolder(options.runFolder, plan.generation);
      if (!served.has(plan.generation)) served.set(plan.generation, await serve(options, plan, folder));
      return endpointOf(plan, folder);
    },
    async close(generation) {
      const folder = vbdFolder(options.runFolder, generation);
      const open = served.get(generation);
      if (open !== undefined) await letGo(open);
      served.delete(generation);
      rmSync(folder.socket, { force: true });
      await endProcesses(folder);
      removeFolder(folder);
    },
    async isGone(generation) {
      const folder = vbdFolder(options.runFolder, generation);
      return !existsSync(folder.path) || (existsSync(folder.alive) && pipeIsGone(folder.alive));
    },
    list: async () => generationsIn(options.runFolder),
    stats: async (generation) => statsOf(vbdFolder(options.runFolder, generation)),
    /** The connections go on: they are ended by close() only. */
    async [Symbol.asyncDispose]() {
      for (const open of served.values()) await letGo(open);
      served.clear();
    },
  };
}

export function endpointOf(plan: VbdPlan, folder: VbdFolder): Endpoint {
  const uri = `nbd+unix:///${encodeURIComponent(plan.exportName)}?socket=${encodeURIComponent(folder.socket).replaceAll('%2F', '/')}`;
  return { kind: 'nbd', uri, socketPath: folder.socket, exportName: plan.exportName };
}

/** From the page that the connections count in: they are not asked, nor slowed. */
function statsOf(folder: VbdFolder): DataPathStats | null {
  if (!existsSync(folder.shared)) return null;
  const fd = openSync(folder.shared, 'r');
  try {
    const head = new Uint8Array(COUNTERS_BYTES);
    readSync(fd, head);
    return countersOf(head, livingProcesses(folder).length);
  } finally {
    closeSync(fd);
  }
}

async function serve(options: NbdOptions, plan: VbdPlan, folder: VbdFolder): Promise<Served> {
  const [living] = livingProcesses(folder);
  const taken = living === undefined ? null : takeDevices(plan, living, options.syscalls);
  const fds = taken ?? (await openDevices(plan, options.verify));
  makeFolder(folder, plan, sharedPageBytes(plan.segments.length), options.syscalls);
  rmSync(folder.socket, { force: true });
  const children = new Set<ChildProcess>();
  const server = createServer({ pauseOnConnect: true }, (socket) => accept(options, plan, folder, fds, children, socket));
  const listening = Promise.withResolvers<void>();
  server.once('error', listening.reject).listen(folder.socket, listening.resolve);
  try {
    await listening.promise;
  } catch (error) {
    for (const fd of fds) closeSync(fd);
    throw new XvdError('INTERNAL', `the socket ${folder.socket} can't be listened on: ${(error as Error).message}`, { cause: error });
  }
  chmodSync(folder.socket, 0o600);
  server.on('error', (error) => options.log('nbd.socket-failed', { generation: plan.generation, reason: error.message }));
  return { plan, folder, server, fds, children };
}

function accept(options: NbdOptions, plan: VbdPlan, folder: VbdFolder, fds: readonly number[], children: Set<ChildProcess>, socket: Socket): void {
  if (livingProcesses(folder).length >= limits.nbdConnectionsPerVbd) {
    options.log('nbd.too-many-connections', { generation: plan.generation });
    socket.destroy();
    return;
  }
  // Read and write, as a pipe without a reader can't be opened for writing alone; held from before the process exists.
  const alive = openSync(folder.alive, constants.O_RDWR | constants.O_NONBLOCK);
  const log = openSync(folder.log, 'a', 0o600);
  try {
    const child = spawn(options.nodePath, ['--disable-warning=ExperimentalWarning', options.connectionProgram, folder.path], {
      stdio: [socket, socket, log, alive, ...fds],
      detached: true,
      env: {},
      cwd: '/',
    });
    children.add(child);
    child.once('error', (error) => options.log('nbd.connection-failed', { generation: plan.generation, reason: error.message }));
    child.once('exit', (code, signal) => {
      children.delete(child);
      if (child.pid !== undefined) forgetProcess(folder, child.pid);
      if (code !== 0 && signal !== 'SIGKILL') options.log('nbd.connection-ended', { generation: plan.generation, code, signal });
    });
    child.unref();
    if (child.pid !== undefined) recordProcess(folder, child.pid);
  } finally {
    closeSync(alive);
    closeSync(log);
    // Closes our descriptor only: the process has its own, and the connection goes on.
    socket.destroy();
  }
}

/** Takes no more connections, and closes our descriptors; what is connected goes on. */
async function letGo(open: Served): Promise<void> {
  const closed = Promise.withResolvers<void>();
  open.server.close(() => closed.resolve());
  await closed.promise;
  for (const fd of open.fds) closeSync(fd);
}

async function endProcesses(folder: VbdFolder): Promise<void> {
  if (!existsSync(folder.alive)) return;
  for (const pid of livingProcesses(folder)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
  await provedGone(folder);
}

/** Waits for the end of file on the pipe: every process that could write has ended, whoever started it. */
async function provedGone(folder: VbdFolder): Promise<void> {
  const fd = openSync(folder.alive, constants.O_RDONLY | constants.O_NONBLOCK);
  // Read before waiting: a pipe that had no writer when it was opened never tells of its end.
  if (readsEnd(fd)) return closeSync(fd);
  const pipe = new Socket({ fd, readable: true, writable: false });
  const ended = Promise.withResolvers<void>();
  const late = setTimeout(() => ended.reject(new XvdError('FENCE_UNPROVED', `a process of ${folder.path} has not ended after ${limits.fenceMs} ms: it may hang in a dead device`)), limits.fenceMs);
  pipe.once('end', ended.resolve).once('error', ended.reject).resume();
  try {
    await ended.promise;
  } finally {
    clearTimeout(late);
    pipe.destroy();
  }
}
