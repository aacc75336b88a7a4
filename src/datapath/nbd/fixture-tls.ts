// For tests: an NBD data path that listens over TCP, and certificates for its clients, made by openssl.

import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { connect as connectOver } from 'node:tls';
import type { ConnectionOptions } from 'node:tls';
import { promisify } from 'node:util';
import { bytes, MIB } from '../../base/units.ts';
import type { VbdPlan } from '../../core/types.ts';
import { openSyscalls } from '../../host/syscalls.ts';
import { answerOf, CLIENT_FLAGS, goRaw, optionBytes, rawClientOn, requestBytes } from './fixture-client.ts';
import type { RawClient } from './fixture-client.ts';
import { openNbdDataPath } from './nbd-data-path.ts';
import type { NbdDataPath } from './nbd-data-path.ts';
import { CMD, OPT } from './wire/constants.ts';

const run = promisify(execFile);

export type Authority = { readonly folder: string };

export async function makeAuthority(parent: string, name: string): Promise<Authority> {
  const folder = join(parent, name);
  mkdirSync(folder);
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', join(folder, 'ca-key.pem')];
  await run('openssl', ['req', '-x509', ...key, '-days', '2', '-subj', `/CN=${name}`, '-out', join(folder, 'ca-cert.pem')]);
  return { folder };
}

type Certificate = { readonly role: 'server' | 'client'; readonly name: string; readonly days?: number; readonly extensions: readonly string[] };

/** A folder of PEM files as GnuTLS clients want it, vouched for by the certificate of `issuer` (a path without `-cert.pem`), trusting `trusts`. */
export async function issue(issuer: string, trusts: Authority, { role, name, days = 2, extensions }: Certificate): Promise<string> {
  const own = mkdtempSync(join(trusts.folder, `${role}-`));
  const file = (part: string): string => join(own, `${role}-${part}.pem`);
  writeFileSync(join(own, 'extensions'), extensions.map((line) => `${line}\n`).join(''));
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', file('key')];
  await run('openssl', ['req', ...key, '-subj', `/CN=${name}`, '-out', join(own, 'request')]);
  const signed = ['-CA', `${issuer}-cert.pem`, '-CAkey', `${issuer}-key.pem`, '-CAcreateserial', '-CAserial', join(own, 'serial')];
  const lasting = ['-days', String(days), '-extfile', join(own, 'extensions')];
  await run('openssl', ['x509', '-req', '-in', join(own, 'request'), ...lasting, ...signed, '-out', file('cert')]);
  writeFileSync(join(own, 'ca-cert.pem'), readFileSync(join(trusts.folder, 'ca-cert.pem')));
  return own;
}

/** `more`: DNS names besides the common one. */
export function certify(authority: Authority, trusts: Authority, role: 'server' | 'client', name: string, more: readonly string[] = []): Promise<string> {
  const alternative = [...(role === 'server' ? ['IP:127.0.0.1', 'DNS:localhost'] : []), ...more.map((entry) => `DNS:${entry}`)];
  const extensions = alternative.length === 0 ? ['basicConstraints=CA:FALSE'] : [`subjectAltName=${alternative.join(',')}`];
  return issue(join(authority.folder, 'ca'), trusts, { role, name, extensions });
}

export type TlsWorld = {
  readonly folder: string;
  readonly dataPath: NbdDataPath;
  readonly port: number;
  readonly authority: Authority;
  readonly server: string;
  open(domain: string, generation: number): Promise<VbdPlan>;
  uri(exportName: string, certificates: string): string;
};

export const pathOn = (folder: string): NbdDataPath =>
  openNbdDataPath({
    runFolder: folder,
    connectionProgram: join(import.meta.dirname, 'connection.ts'),
    nodePath: process.execPath,
    verify: async () => {},
    syscalls: openSyscalls(),
    log: () => {},
  });

export const listen = (dataPath: NbdDataPath, server: string, port = 0): Promise<{ host: string; port: number }> =>
  dataPath.listen({
    host: '127.0.0.1',
    port,
    certificate: join(server, 'server-cert.pem'),
    key: join(server, 'server-key.pem'),
    authority: join(server, 'ca-cert.pem'),
    program: join(import.meta.dirname, 'tls-connection.ts'),
  });

export async function tlsWorld(t: TestContext): Promise<TlsWorld> {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-tls-'));
  const dataPath = pathOn(folder);
  const generations: number[] = [];
  t.after(async () => {
    for (const generation of generations) await dataPath.close(generation);
    await dataPath[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  });
  const authority = await makeAuthority(folder, 'authority');
  const server = await certify(authority, authority, 'server', 'localhost');
  const { port } = await listen(dataPath, server);
  return {
    folder,
    dataPath,
    port,
    authority,
    server,
    async open(domain, generation) {
      const path = join(folder, `device${generation}`);
      writeFileSync(path, Buffer.alloc(8 * MIB, generation));
      const segment = (offset: number) => ({ deviceIndex: 0, offsetBytes: bytes(offset), lengthBytes: bytes(2 * MIB) });
      const plan: VbdPlan = {
        generation,
        exportName: `${domain}/xvda@${generation}`,
        mode: 'w',
        sizeBytes: bytes(4 * MIB),
        blockBytes: 512,
        cache: 'writeback',
        devices: [{ path, kind: 'file', identity: { kind: 'path', path }, sizeBytes: bytes(8 * MIB) }],
        segments: [segment(6 * MIB), segment(2 * MIB)],
      };
      await dataPath.open(plan);
      generations.push(generation);
      return plan;
    },
    uri: (exportName, certificates) => `nbds://127.0.0.1:${port}/${encodeURIComponent(exportName)}?tls-certificates=${certificates}`,
  };
}

const GREETING_BYTES = 18;
const ACKNOWLEDGED_BYTES = GREETING_BYTES + 20;

export type TlsClient = RawClient & {
  /** What TLS is over, for what TLS would not send. */
  readonly tcp: Socket;
  readonly secured: Socket;
};

/** As far as the server's answer to STARTTLS: what is sent next should be a ClientHello. `from`: its own address. */
export async function connectToTls(port: number, from = '127.0.0.1'): Promise<Socket> {
  const tcp = connect({ port, host: '127.0.0.1', localAddress: from });
  tcp.on('error', () => {});
  tcp.write(Buffer.concat([CLIENT_FLAGS, optionBytes(OPT.STARTTLS)]));
  let bytesIn = 0;
  const acknowledged = Promise.withResolvers<void>();
  const take = (data: Buffer): void => {
    bytesIn += data.length;
    if (bytesIn === ACKNOWLEDGED_BYTES) acknowledged.resolve();
  };
  tcp.on('data', take);
  tcp.once('close', () => acknowledged.reject(new Error('turned away')));
  await acknowledged.promise;
  tcp.off('data', take);
  return tcp;
}

/** `certificates`: a folder of certify(); null = none. Whether the server takes it shows by what it answers. */
export async function connectTls(port: number, certificates: string | null, options: ConnectionOptions = {}, from?: string): Promise<TlsClient> {
  const tcp = await connectToTls(port, from);
  const own =
    certificates === null ? {} : { cert: readFileSync(join(certificates, 'client-cert.pem')), key: readFileSync(join(certificates, 'client-key.pem')) };
  const secured = connectOver({ socket: tcp, rejectUnauthorized: false, ...own, ...options });
  const client = rawClientOn(secured);
  await Promise.race([once(secured, 'secureConnect'), client.rest()]);
  return { ...client, tcp, secured };
}

/** In transmission, and served: it has read something, so that its process has the VBD. */
export async function guestTls(port: number, certificates: string, exportName: string, from?: string): Promise<TlsClient> {
  const client = await connectTls(port, certificates, {}, from);
  await goRaw(client, exportName);
  client.send(requestBytes({ type: CMD.READ, length: 512 }));
  await answerOf(client);
  return client;
}
