// The daemon: one per catalog. Takes over what runs, keeps leases, serves the API, and ends without ending guests' I/O.

import { chmodSync, mkdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { apiSocket } from '../api/client.ts';
import { makeApi } from '../api/server.ts';
import { startDue } from '../app/after-reboot.ts';
import { daemonEnds, stopCopies } from '../app/copies.ts';
import { reconcile } from '../app/reconcile.ts';
import { endDomain } from '../app/start-domain.ts';
import type { System } from '../app/system.ts';
import { XvdError } from '../base/error.ts';
import { requireSocketPath } from '../base/socket-path.ts';
import { openSyscalls } from '../host/syscalls.ts';
import type { Settings } from './settings.ts';
import { keepCleanUntil } from './clean-keeper.ts';
import { watchCatalog } from './catalog-watch.ts';
import { tellServiceManager } from './service-manager.ts';
import { composeSystem, programsOf } from './compose.ts';
import type { ComposedSystem, Log } from './compose.ts';
import { lockDaemon } from './daemon-lock.ts';
import { keepHandsOff } from './udev-rules.ts';
import { openLog } from './log.ts';
import { keepLabelsUntil } from './label-keeper.ts';
import { keepLeasesUntil } from './lease-keeper.ts';

export type ServeOptions = {
  readonly signal: AbortSignal;
  readonly ready: (facts: { readonly socket: string; readonly catalogId: string }) => void;
};

export async function serve(settings: Settings, { signal, ready }: ServeOptions): Promise<void> {
  const log = openLog();
  makeFolder(settings.runFolder);
  makeFolder(settings.stateFolder);
  await using lock = await lockDaemon(settings.stateFolder, openSyscalls());
  void lock;
  // Sockets and pipes are of one daemon too, whatever its catalog.
  await using runLock = realpathSync(settings.runFolder) === realpathSync(settings.stateFolder) ? null : await lockDaemon(settings.runFolder, openSyscalls());
  void runLock;
  await using system = await composeSystem(settings, log);
  const catalogId = await system.catalog.write((writer) => writer.catalogId());
  await keepHandsOff(settings.runFolder, programsOf(), log);
  await reconcile(system);
  // Whatever fails from here on, nothing of it keeps the process alive.
  await using running = new AsyncDisposableStack();
  const ended = new AbortController();
  running.defer(() => ended.abort());
  signal.addEventListener('abort', () => ended.abort(), { once: true });
  running.defer(async () => void (await stopCopies(system, daemonEnds())));
  const watch = watchCatalog(system.catalog, settings.stateFolder, ended.signal);
  for (const hypervisor of system.hypervisors) hypervisor.watchEnds((domain) => void endedDomain(system, domain, log), ended.signal);
  const api = {
    system,
    unguarded: system.unguarded,
    stateFolder: settings.stateFolder,
    expert: settings.expert,
    changed: watch.changed,
    ended: ended.signal,
    log,
  };
  running.defer(await listenOnSocket(settings, makeApi({ ...api, token: null })));
  running.defer(await listenOnTcp(settings, (token) => makeApi({ ...api, token }), log));
  await listenForNbd(settings, system, log);
  const keeper = keepLeasesUntil(system, watch, ended.signal, log);
  running.defer(() => keeper);
  const labels = keepLabelsUntil(system, watch, ended.signal, log);
  running.defer(() => labels);
  const reserve = settings.cleanReserveBytes === null ? null : keepCleanUntil({ ...settings, reserveBytes: settings.cleanReserveBytes }, ended.signal, log);
  running.defer(() => reserve ?? Promise.resolve());
  // Behind the API: who waits for the daemon waits for what is attached, not for guests.
  const started = startDue(system, settings.expert).catch((error: unknown) => log('domains.not-started', { reason: (error as Error).message }));
  running.defer(() => started);
  await tellServiceManager(log);
  ready({ socket: apiSocket(settings.runFolder), catalogId });
  log('daemon.ready', { socket: apiSocket(settings.runFolder), catalogId, pid: process.pid });
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  ended.abort();
  await running.disposeAsync();
  log('daemon.ended', {});
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new XvdError('NOT_PERMITTED', `the folder ${folder} can't be made: ${(error as Error).message}`, {
      cause: error,
      fix: 'Set XVD_STATE and XVD_RUN to folders of yours, or run as root.',
    });
  }
}

async function endedDomain(system: System, domain: string, log: Log): Promise<void> {
  try {
    const vbds = await endDomain(system, domain, 'domain ended');
    log('domain.ended', { domain, vbds: vbds.length });
  } catch (error) {
    log('domain.end-failed', { domain, reason: (error as Error).message });
  }
}

type Close = () => Promise<void>;
type Api = ReturnType<typeof makeApi>;

/** Its promise never fails: hono answers errors itself. */
function listenerOf(api: Api): (incoming: IncomingMessage, outgoing: ServerResponse) => void {
  const listener = getRequestListener(api.fetch);
  return (incoming, outgoing) => void listener(incoming, outgoing);
}

/** The locks say that no daemon serves here, so a socket that lies there is left over. */
async function listenOnSocket(settings: Settings, api: Api): Promise<Close> {
  const path = apiSocket(settings.runFolder);
  requireSocketPath(path);
  rmSync(path, { force: true });
  const server = createHttp(listenerOf(api));
  // Made for its owner only, from the first moment.
  const mask = process.umask(0o177);
  try {
    await listening((done) => server.listen(path, done), server);
  } finally {
    process.umask(mask);
  }
  chmodSync(path, 0o600);
  return () => closed(server);
}

async function listenOnTcp(settings: Settings, makeWithToken: (token: string) => Api, log: Log): Promise<Close> {
  if (settings.listen === null) return async () => {};
  const { host, port } = hostAndPort(settings.listen);
  if (settings.tokenFile === null) throw new XvdError('USAGE', '--listen needs a token', { fix: 'Write one into a file and give --token-file FILE.' });
  const token = readText(settings.tokenFile, 'token').trim();
  if (token.length < 16) throw new XvdError('VALUE_INVALID', `the token in ${settings.tokenFile} has fewer than 16 characters`);
  const loopback = /^(127\.\d+\.\d+\.\d+|::1|localhost)$/.test(host);
  const tls = settings.tlsCert !== null && settings.tlsKey !== null;
  if (!loopback && !tls)
    throw new XvdError('USAGE', `--listen ${settings.listen} is not loopback and needs TLS`, { fix: 'Give --tls-cert and --tls-key, or listen on 127.0.0.1.' });
  const listener = listenerOf(makeWithToken(token));
  const server = tls
    ? createHttps({ cert: readText(settings.tlsCert ?? '', 'certificate'), key: readText(settings.tlsKey ?? '', 'key') }, listener)
    : createHttp(listener);
  await listening((done) => server.listen(port, host, done), server);
  log('api.listening', { address: (server.address() as AddressInfo).address, port: (server.address() as AddressInfo).port });
  return () => closed(server);
}

/** Ends with the data path. */
async function listenForNbd(settings: Settings, system: ComposedSystem, log: Log): Promise<void> {
  const { nbdListen, tlsCert, tlsKey, tlsCa } = settings;
  if (nbdListen === null) return;
  if (tlsCert === null || tlsKey === null || tlsCa === null)
    throw new XvdError('USAGE', `--nbd-listen ${nbdListen} needs TLS and client certificates`, { fix: 'Give --tls-cert, --tls-key and --tls-ca.' });
  const address = await system.listenNbd({ ...hostAndPort(nbdListen), certificate: tlsCert, key: tlsKey, authority: tlsCa });
  log('nbd.listening', address);
}

function hostAndPort(text: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) throw new XvdError('VALUE_INVALID', `'${text}' is no HOST:PORT`, { fix: 'Write 127.0.0.1:8080 or [::1]:8080.' });
  return { host: match[1] ?? match[2] ?? '', port };
}

function readText(path: string, what: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new XvdError('FILE_NOT_FOUND', `the ${what} ${path} can't be read`, { cause: error });
  }
}

function listening(listen: (done: () => void) => void, server: { once(event: 'error', listener: (error: Error) => void): unknown }): Promise<void> {
  const done = Promise.withResolvers<void>();
  server.once('error', (error) => done.reject(new XvdError('NOT_PERMITTED', `the API can't listen: ${error.message}`, { cause: error })));
  listen(done.resolve);
  return done.promise;
}

function closed(server: { close(done: () => void): unknown; closeAllConnections(): void }): Promise<void> {
  const done = Promise.withResolvers<void>();
  server.close(() => done.resolve());
  server.closeAllConnections();
  return done.promise;
}
