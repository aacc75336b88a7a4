// The program of one connection over TCP: TLS with a certificate of the client's, then the same requests as on a VBD's own socket.
// It begins with the client's socket on descriptor 0 and a way to ask the daemon; when the client has chosen a VBD that its
// certificate may open, the daemon hands over what that VBD needs, and from then on the process answers to nobody but its client.
//
// Arguments: paths of the server's certificate, its key, and the authority of the clients, as PEM; read anew by each connection.

import { constants } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Socket as TcpSocket } from 'node:net';
import { createServer } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { limits } from '../../base/limits.ts';
import { becomeFlusher } from '../../host/io-flusher.ts';
import { openSyscalls } from '../../host/syscalls.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { exportOf, openSession, readPlan } from './open-session.ts';
import { feedRequests } from './serve-requests.ts';
import type { RequestFeed } from './serve-requests.ts';
import type { Socket } from './socket.ts';
import { SOCKET_FD } from './spare-descriptors.ts';
import { askDaemon, takeVbd } from './tls-questions.ts';
import { namesOf } from './tls-names.ts';
import { startHandshake } from './wire/handshake.ts';
import type { Exports, Handshake, Negotiated } from './wire/handshake.ts';

/** A client that does not take its answers is not read from. */
const CONGESTED_BYTES = 4 * 1024 * 1024;
const KEEPALIVE_MS = 30_000;

let late: NodeJS.Timeout | undefined;

function main([certificate = '', key = '', authority = '']: readonly string[]): void {
  const syscalls = openSyscalls();
  if (syscalls === null) return;
  const tcp = new TcpSocket({ fd: SOCKET_FD, readable: true, writable: true });
  tcp.setNoDelay(true).setKeepAlive(true, KEEPALIVE_MS);
  tcp.on('error', leave).on('close', leave);
  const handshake = startHandshake(null);
  tcp.write(handshake.greeting);
  // Until it has its VBD: a client that only holds a place loses it.
  late = setTimeout(leave, limits.nbdHandshakeMs);
  let held: Buffer = Buffer.alloc(0);
  tcp.on('data', function beforeTls(chunk: Buffer) {
    held = Buffer.concat([held, chunk]);
    const { consumed, output, next } = handshake.step(held);
    held = held.subarray(consumed);
    // Bytes behind STARTTLS that came before TLS could be anybody's: they end the connection.
    if (next === 'tls' && held.length > 0) return leave();
    for (const bytes of output) tcp.write(bytes);
    if (tcp.writableLength > CONGESTED_BYTES) return leave();
    if (next === 'more') return;
    if (next !== 'tls') return endSoon(tcp);
    tcp.off('data', beforeTls);
    startTls(tcp, [certificate, key, authority], (secured) => negotiate(secured, handshake, syscalls));
  });
}

function startTls(tcp: TcpSocket, [certificate = '', key = '', authority = '']: readonly string[], begin: (secured: TLSSocket) => void): void {
  const server = createServer({
    cert: readFileSync(certificate),
    key: readFileSync(key),
    ca: readFileSync(authority),
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
    // Who it is has been looked at once.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  });
  server.on('secureConnection', begin);
  server.on('tlsClientError', leave);
  server.emit('connection', tcp);
}

function negotiate(secured: TLSSocket, outside: Handshake, syscalls: Syscalls): void {
  secured.on('error', leave).on('close', leave);
  const names = namesOf(secured.getPeerCertificate());
  // Asked once for all that came together: a client that asks a thousand times at once costs the daemon one answer.
  let known: ReturnType<Exports['list']> | null = null;
  const exported = (): ReturnType<Exports['list']> => (known ??= askDaemon(syscalls, names).map((folder) => exportOf(readPlan(folder), true)));
  const handshake = outside.secured({
    list: exported,
    find: (name) => exported().find((one) => one.name === name) ?? null,
  });
  let held: Buffer = Buffer.alloc(0);
  secured.on('data', function beforeRequests(chunk: Buffer) {
    held = Buffer.concat([held, chunk]);
    known = null;
    const { consumed, output, next } = handshake.step(held);
    // Who does not take the answers of a handshake is no client.
    if (secured.writableLength > CONGESTED_BYTES) return leave();
    if (output.length > 0) secured.write(Buffer.concat(output));
    held = held.subarray(consumed);
    if (next === 'more') return;
    if (next === 'end' || next === 'tls') return endSoon(secured);
    secured.off('data', beforeRequests);
    transmit(secured, next.go, held, syscalls, names);
  });
}

function transmit(secured: TLSSocket, negotiated: Negotiated, rest: Buffer, syscalls: Syscalls, names: readonly string[]): void {
  const folder = takeVbd(syscalls, names, negotiated.exported.name);
  if (folder === null) return leave();
  clearTimeout(late);
  const opened = openSession(folder, syscalls);
  becomeFlusher(syscalls);
  const feed = feedRequests(opened.session(socketOver(secured), negotiated));
  const follow = (state: ReturnType<RequestFeed['push']>): void => {
    if (state === 'leave') return endSoon(secured);
    if (state === 'more') return void secured.resume();
    secured.pause();
    if (secured.writableLength <= CONGESTED_BYTES) setImmediate(() => follow(feed.resume()));
    else secured.once('drain', () => follow(feed.resume()));
  };
  secured.on('data', (chunk: Buffer) => follow(feed.push(chunk)));
  follow(feed.push(rest));
}

/** Nothing of it waits: what comes is pushed, what is written is kept by the stream until the client takes it. */
const socketOver = (secured: TLSSocket): Socket => ({
  read: () => 0,
  readNow: () => 0,
  write(buffer, at, length) {
    secured.write(Buffer.from(buffer.subarray(at, at + length)));
  },
  congested: () => secured.writableLength > CONGESTED_BYTES,
});

/** What it still has to be told is sent first, as long as it takes it; whatever it says is thrown away, and gives it no more time. */
function endSoon(stream: TcpSocket): void {
  stream.removeAllListeners('data').resume();
  clearTimeout(late);
  late = setTimeout(leave, limits.nbdHandshakeMs);
  stream.end(leave);
}

function leave(): never {
  process.exit();
}

main(process.argv.slice(2));
