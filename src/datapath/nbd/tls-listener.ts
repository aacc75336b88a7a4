// NBD over TCP: accepts, starts a process for each client, and answers what it asks until it has its VBD. Who the client is, the
// process finds out; what it may open is decided here, by the names in its certificate. The process is believed: it runs as the
// daemon does, so whoever took it over could open the devices without asking. Its words are bounded all the same.

import { readFileSync, statSync } from 'node:fs';
import type { ChildProcess } from 'node:child_process';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { createSecureContext } from 'node:tls';
import { XvdError } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { SPARE_PLACES } from './spare-descriptors.ts';
import { descriptorOf, startUntold } from './start-process.ts';
import { mayOpen } from './tls-names.ts';
import type { Answer, Question } from './tls-questions.ts';

export type TlsOptions = {
  readonly host: string;
  /** 0 = any that is free. */
  readonly port: number;
  /** Paths of PEM files: the server's certificate and key, and the authority that vouches for clients. */
  readonly certificate: string;
  readonly key: string;
  readonly authority: string;
  /** Path of tls-connection.ts, or of what it was bundled to. */
  readonly program: string;
};

export type ServedExport = { readonly exportName: string; readonly folder: string; readonly descriptors: number };

export type TlsContext = {
  readonly nodePath: string;
  readonly syscalls: Syscalls | null;
  readonly log: (event: string, details: Readonly<Record<string, unknown>>) => void;
  readonly exports: () => readonly ServedExport[];
  /** Calls `send` with what the process needs, once it may have it; false when the VBD is not to be had. */
  readonly handOver: (folder: string, child: ChildProcess, send: (descriptors: readonly number[]) => void) => Promise<boolean>;
};

/** Longer than all names of any certificate that TLS lets through. */
const QUESTION_CHARACTERS = 256 * 1024;

export type TlsListener = { readonly address: { readonly host: string; readonly port: number }; close(): void };

export async function listenTls(options: TlsOptions, context: TlsContext): Promise<TlsListener> {
  if (context.syscalls === null) throw new XvdError('NOT_SUPPORTED', 'NBD over TCP needs system calls that this machine has no binary for');
  checkFiles(options);
  const places = handshakePlaces();
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    const from = socket.remoteAddress ?? '';
    const leave = places(from);
    if (leave === null) context.log('nbd.too-many-handshakes', { from });
    else startOne(options, context, socket, leave);
    // Closes our descriptor only.
    socket.destroy();
  });
  server.maxConnections = limits.nbdAccepted;
  const listening = Promise.withResolvers<void>();
  server.once('error', (error) => listening.reject(new XvdError('NOT_PERMITTED', `NBD can't listen on ${options.host}:${options.port}: ${error.message}`)));
  server.listen(options.port, options.host, listening.resolve);
  await listening.promise;
  server.on('error', (error) => context.log('nbd.listener-failed', { reason: error.message }));
  const { address, port } = server.address() as AddressInfo;
  return { address: { host: address, port }, close: () => void server.close() };
}

/** Takes a place for an address: gives how to leave it, null = there is none. */
function handshakePlaces(): (address: string) => (() => void) | null {
  const taken = new Map<string, number>();
  let all = 0;
  return (address) => {
    const own = taken.get(address) ?? 0;
    if (all >= limits.nbdHandshakes || own >= limits.nbdHandshakesPerAddress) return null;
    all += 1;
    taken.set(address, own + 1);
    return () => {
      all -= 1;
      const left = (taken.get(address) ?? 0) - 1;
      if (left > 0) taken.set(address, left);
      else taken.delete(address);
    };
  };
}

/** What a client would otherwise be the first to find out. */
function checkFiles({ certificate, key, authority }: TlsOptions): void {
  try {
    createSecureContext({ cert: readFileSync(certificate), key: readFileSync(key), ca: readFileSync(authority) });
  } catch (error) {
    throw new XvdError(
      'VALUE_INVALID',
      `the certificate ${certificate}, its key ${key} or the authority ${authority} can't be used: ${(error as Error).message}`,
      {
        fix: 'Give PEM files: --tls-cert and --tls-key of this server, --tls-ca of those that may connect.',
        cause: error,
      },
    );
  }
  if ((statSync(key).mode & 0o007) !== 0)
    throw new XvdError('VALUE_INVALID', `everybody on this host may read the key ${key}`, { fix: `chmod 600 ${key}, and make a new one if others had it.` });
}

function startOne(options: TlsOptions, context: TlsContext, socket: Socket, over: () => void): void {
  const { program, certificate, key, authority } = options;
  const { child, control } = startUntold(context.nodePath, [program, certificate, key, authority], socket);
  let line = '';
  // Once, whichever comes first: its VBD, or its end.
  const ended = Promise.withResolvers<void>();
  void ended.promise.then(over);
  child.once('error', (error) => context.log('nbd.connection-failed', { reason: error.message }));
  child.once('exit', ended.resolve);
  control.on('close', ended.resolve);
  control.on('data', (data: Buffer) => {
    line += data.toString();
    const end = line.indexOf('\n');
    if (end < 0) {
      if (line.length > QUESTION_CHARACTERS) control.destroy();
      return;
    }
    const asked = line.slice(0, end);
    line = line.slice(end + 1);
    answer(context, child, control, asked).catch((error: unknown) => {
      context.log('nbd.connection-refused', { asked, reason: (error as Error).message });
      control.destroy();
    });
  });
}

async function answer({ exports, handOver, syscalls, log }: TlsContext, child: ChildProcess, control: Socket, asked: string): Promise<void> {
  const { names, open } = JSON.parse(asked) as Question;
  const allowed = exports().filter(({ exportName, descriptors }) => mayOpen(names, exportName) && descriptors <= SPARE_PLACES);
  const send = (folders: readonly string[], descriptors: readonly number[]): void => {
    const told: Answer = { folders };
    syscalls?.sendDescriptors(descriptorOf(control), Buffer.from(JSON.stringify(told)), descriptors);
  };
  if (open === null) {
    return send(
      allowed.map(({ folder }) => folder),
      [],
    );
  }
  const chosen = allowed.find(({ exportName }) => exportName === open);
  const given = chosen !== undefined && (await handOver(chosen.folder, child, (descriptors) => send([chosen.folder], descriptors)));
  if (!given) send([], []);
  log(given ? 'nbd.opened' : 'nbd.refused', { names, export: open });
}
