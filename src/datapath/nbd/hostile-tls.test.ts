// Clients over TCP that want to harm: before TLS, instead of it, with certificates that open nothing, and inside. Whatever they do,
// nothing is told, opened or written that should not be, and who is served goes on.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { connect as connectOver } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { until } from '../../../test/until.ts';
import { limits } from '../../base/limits.ts';
import { MIB } from '../../base/units.ts';
import { answerOf, CLIENT_FLAGS, goData, goRaw, optionBytes, rawClientOn, requestBytes } from './fixture-client.ts';
import type { RequestFields } from './fixture-client.ts';
import { certify, connectTls, connectToTls, guestTls, issue, tlsWorld } from './fixture-tls.ts';
import type { TlsClient, TlsWorld } from './fixture-tls.ts';
import { livingProcesses } from './process-records.ts';
import { vbdFolder } from './vbd-folder.ts';
import { CMD, NBD_ERROR, OPT, REP } from './wire/constants.ts';

/** Processes of clients over TCP, whether they have a VBD yet or not. */
const tlsProcesses = (): number[] =>
  readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, 'latin1')
    .split(' ')
    .filter((pid) => pid !== '' && readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('tls-connection'))
    .map(Number);

const served = (here: TlsWorld): number[] => livingProcesses(vbdFolder(here.folder, 4));
const clientOf = (here: TlsWorld, name: string): Promise<string> => certify(here.authority, here.authority, 'client', name);

async function ask(client: TlsClient, fields: RequestFields, payload: Uint8Array = new Uint8Array(0)): Promise<Uint8Array> {
  client.send(Buffer.concat([requestBytes(fields), payload]));
  return answerOf(client);
}

const firstByte = async (client: TlsClient): Promise<number | undefined> => (await ask(client, { type: CMD.READ, length: 512 }))[0];

async function clientHello(): Promise<Buffer> {
  const said = Promise.withResolvers<Buffer>();
  const nowhere = new Duplex({ read: () => {}, write: (chunk: Buffer) => said.resolve(chunk) });
  connectOver({ socket: nowhere }).on('error', () => {});
  return said.promise;
}

/** The type of the next option reply, whatever it says besides. */
async function replyOf(client: Pick<TlsClient, 'take'>): Promise<number> {
  const head = await client.take(20);
  await client.take(head.readUInt32BE(16));
  return head.readUInt32BE(12);
}

test('before TLS every option but STARTTLS and ABORT is refused, and what it asked for is not kept', async (t) => {
  const here = await tlsWorld(t);
  const plan = await here.open('web01', 4);
  const tcp = connect(here.port, '127.0.0.1');
  await once(tcp, 'connect');
  const plain = rawClientOn(tcp);
  await plain.take(18);
  plain.send(CLIENT_FLAGS);
  const go = goData(plan.exportName);
  const context = Buffer.concat([go.subarray(0, -2), Buffer.from([0, 0, 0, 0])]);
  for (const option of [OPT.STRUCTURED_REPLY, OPT.LIST, OPT.INFO, OPT.GO, OPT.SET_META_CONTEXT, OPT.LIST_META_CONTEXT, 99]) {
    const data = option === OPT.SET_META_CONTEXT || option === OPT.LIST_META_CONTEXT ? context : go;
    plain.send(optionBytes(option, option === OPT.STRUCTURED_REPLY || option === OPT.LIST ? Buffer.alloc(0) : data));
    assert.equal(await replyOf(plain), REP.ERR_TLS_REQD, `option ${option}`);
  }
  plain.send(optionBytes(OPT.STARTTLS, Buffer.alloc(1)));
  assert.equal(await replyOf(plain), REP.ERR_INVALID);
  plain.send(optionBytes(OPT.EXPORT_NAME, Buffer.from(plan.exportName)));
  assert.equal((await plain.rest()).length, 0, 'an option that can not be refused ends the connection');
  const client = await connectTls(here.port, await clientOf(here, 'web01'));
  client.send(optionBytes(OPT.SET_META_CONTEXT, context));
  assert.equal(await replyOf(client), REP.ERR_INVALID, 'no structured replies have been agreed on');
  client.send(optionBytes(OPT.STARTTLS));
  assert.equal(await replyOf(client), REP.ERR_INVALID, 'TLS is on already');
  await goRaw(client, plan.exportName);
  assert.equal(await firstByte(client), 4);
  client.end();
});

test('whatever comes in the place of a ClientHello ends the connection, and no word of NBD is said in plain', async (t) => {
  const here = await tlsWorld(t);
  await here.open('web01', 4);
  const hello = await clientHello();
  const broken = Buffer.from(hello);
  broken.fill(0xff, 5);
  const old = Buffer.from(hello);
  // An SSL 3 record of a ClientHello of SSL 3, without the extensions that say better.
  old.set([3, 0], 1);
  old.set([3, 0], 9);
  const cases: Readonly<Record<string, Buffer>> = {
    'another STARTTLS': optionBytes(OPT.STARTTLS),
    options: Buffer.concat([optionBytes(OPT.LIST), optionBytes(OPT.GO, goData('web01/xvda@4'))]),
    'another protocol': Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
    nonsense: Buffer.alloc(100_000, 0xa5),
    'a record longer than any': Buffer.from([22, 3, 1, 0xff, 0xff, ...Buffer.alloc(0xffff)]),
    'data before keys': Buffer.from([23, 3, 3, 0, 16, ...Buffer.alloc(16)]),
    'a broken hello': broken,
    'SSL 3': old.subarray(0, 5 + 4 + 2),
    'an alert': Buffer.from([21, 3, 3, 0, 2, 2, 40]),
  };
  for (const [what, data] of Object.entries(cases)) {
    const tcp = await connectToTls(here.port);
    const client = rawClientOn(tcp);
    tcp.write(data);
    // A server that waits for the rest is not kept waiting.
    if (what === 'SSL 3') tcp.end();
    const said = await client.rest();
    assert.ok(said.length === 0 || (said[0] === 21 && said.length <= 7), `${what}: ${said.toString('hex', 0, 64)}`);
  }
  await until('no process is left', () => tlsProcesses().length === 0);
  assert.equal((await here.dataPath.stats(4))?.connections, 0);
});

test('certificates that are expired, for servers, signed by a client, or name a domain in another name: nothing is opened', async (t) => {
  const here = await tlsWorld(t);
  const plan = await here.open('web01', 4);
  const authority = join(here.authority.folder, 'ca');
  const web = await clientOf(here, 'web01');
  const refused: Readonly<Record<string, string | null>> = {
    none: null,
    expired: await issue(authority, here.authority, { role: 'client', name: 'web01', days: -1, extensions: [] }),
    'for servers': await issue(authority, here.authority, { role: 'client', name: 'web01', extensions: ['extendedKeyUsage=serverAuth'] }),
    'signed by a client': await issue(join(web, 'client'), here.authority, { role: 'client', name: 'web01', extensions: [] }),
  };
  for (const [what, certificates] of Object.entries(refused)) {
    const client = await connectTls(here.port, certificates);
    client.send(Buffer.concat([optionBytes(OPT.LIST), optionBytes(OPT.GO, goData(plan.exportName))]));
    assert.equal((await client.rest()).length, 0, what);
  }
  const names: Readonly<Record<string, readonly string[]>> = {
    'another domain': ['basicConstraints=CA:FALSE'],
    'names inside of names': ['subjectAltName=@names', '[names]', 'DNS.1 = "x, DNS:web01, y"', 'URI.1 = "http://a/, DNS:web01, b"'],
    'a name that is no DNS name': ['subjectAltName=@names', '[names]', 'URI.1 = web01'],
  };
  for (const [what, extensions] of Object.entries(names)) {
    const client = await connectTls(here.port, await issue(authority, here.authority, { role: 'client', name: 'db01', extensions }));
    client.send(optionBytes(OPT.LIST));
    assert.equal(await replyOf(client), REP.ACK, `${what}: it hears of nothing`);
    client.send(optionBytes(OPT.GO, goData(plan.exportName)));
    assert.equal(await replyOf(client), REP.ERR_UNKNOWN, what);
    client.send(optionBytes(OPT.EXPORT_NAME, Buffer.from(plan.exportName)));
    assert.equal((await client.rest()).length, 0);
  }
  assert.equal((await here.dataPath.stats(4))?.reads, 0);
  assert.deepEqual(served(here), []);
});

test('TLS 1.1 is not spoken, and a client of TLS 1.2 does not negotiate anew', async (t) => {
  const here = await tlsWorld(t);
  const plan = await here.open('web01', 4);
  const web = await clientOf(here, 'web01');
  const old = connectTls(here.port, web, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' });
  await assert.rejects(old, { code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION' });
  const client = await connectTls(here.port, web, { maxVersion: 'TLSv1.2' });
  await goRaw(client, plan.exportName);
  assert.equal(await firstByte(client), 4);
  const refusal = Promise.withResolvers<Error | null>();
  (client.secured as TLSSocket).renegotiate({}, refusal.resolve);
  client.secured.once('close', () => refusal.resolve(new Error('closed')));
  assert.ok((await refusal.promise) instanceof Error);
  client.end();
  const next = await guestTls(here.port, web, plan.exportName);
  assert.equal(await firstByte(next), 4);
  assert.equal(readFileSync(vbdFolder(here.folder, 4).log, 'utf8'), '');
  next.end();
});

test('a connection that breaks in the middle of a write has written nothing of it', async (t) => {
  const here = await tlsWorld(t);
  const plan = await here.open('web01', 4);
  const web = await clientOf(here, 'web01');
  const half = Buffer.concat([requestBytes({ type: CMD.WRITE, length: MIB }), Buffer.alloc(MIB / 2, 9)]);
  const breaks: Readonly<Record<string, (tcp: Socket) => void>> = {
    reset: (tcp) => tcp.resetAndDestroy(),
    'ended without a word': (tcp) => tcp.end(),
    'ended within a record': (tcp) => tcp.end(Buffer.from([23, 3, 3, 0x40, 0, 1, 2, 3])),
    forged: (tcp) => tcp.write(Buffer.from([23, 3, 3, 0, 32, ...Buffer.alloc(32, 7)])),
    'a record too long': (tcp) => tcp.write(Buffer.from([23, 3, 3, 0xff, 0xff, ...Buffer.alloc(64)])),
  };
  for (const [what, broken] of Object.entries(breaks)) {
    const client = await guestTls(here.port, web, plan.exportName);
    client.send(half);
    // All that TLS has to send is on its way before the break is.
    if (client.secured.writableLength > 0) await once(client.secured, 'drain');
    broken(client.tcp);
    await until(`${what}: its end`, () => served(here).length === 0);
    client.end();
  }
  const device = readFileSync(plan.devices[0]?.path ?? '');
  assert.ok(device.every((byte) => byte === 4));
  assert.equal((await here.dataPath.stats(4))?.writes, 0);
});

test('requests too large are refused or end the connection; who asks for much and takes nothing costs no memory', async (t) => {
  const here = await tlsWorld(t);
  const plan = await here.open('web01', 4);
  const web = await clientOf(here, 'web01');
  const client = await guestTls(here.port, web, plan.exportName);
  for (const [fields, number] of [
    [{ type: CMD.READ, length: 0xffffffff }, NBD_ERROR.EINVAL],
    [{ type: CMD.READ, offset: 2 ** 52, length: 512 }, NBD_ERROR.EINVAL],
    [{ type: CMD.WRITE_ZEROES, length: 0xffffffff }, NBD_ERROR.ENOSPC],
    [{ type: CMD.TRIM, length: 0xffffffff }, NBD_ERROR.EINVAL],
  ] as const)
    await assert.rejects(ask(client, fields), { number });
  const whole = Buffer.alloc(4 * MIB, 6);
  await ask(client, { type: CMD.WRITE, length: whole.length }, whole);
  const [pid = 0] = served(here);
  const READS = 100;
  client.secured.pause();
  client.send(Buffer.concat(Array.from({ length: READS }, () => requestBytes({ type: CMD.READ, length: whole.length }))));
  const other = await guestTls(here.port, web, plan.exportName);
  assert.equal(await firstByte(other), 6);
  client.secured.resume();
  for (let count = 0; count < READS; count += 1) assert.ok(whole.equals(await answerOf(client)));
  const peakBytes = 1024 * Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0);
  assert.ok(peakBytes > 0 && peakBytes < 200 * MIB, `${peakBytes} bytes`);
  client.send(Buffer.concat([requestBytes({ type: CMD.WRITE, length: 0xffffffff }), whole]));
  assert.equal((await client.rest()).length, 0, 'a payload beyond the limits ends the connection');
  assert.equal(await firstByte(other), 6);
  other.end();
});

test('who stalls before, in or behind the handshake of TLS, or says good-bye and goes on, loses its place', async (t) => {
  const here = await tlsWorld(t);
  const plan = await here.open('web01', 4);
  const web = await clientOf(here, 'web01');
  const guest = await guestTls(here.port, web, plan.exportName);
  const [own = 0] = served(here);
  const hello = await clientHello();
  const [first, second] = ['127.0.1.1', '127.0.1.2'];
  const silent = connect({ port: here.port, host: '127.0.0.1', localAddress: first });
  const [asked, halfHello, wholeHello, slow] = await Promise.all([first, first, second, second].map((from) => connectToTls(here.port, from)));
  const [secured, halfOption] = await Promise.all([first, second].map((from) => connectTls(here.port, web, {}, from)));
  halfHello?.write(hello.subarray(0, hello.length / 2));
  wholeHello?.write(hello);
  slow?.write(hello.subarray(0, 5));
  halfOption?.send(optionBytes(OPT.GO, goData(plan.exportName)).subarray(0, 20));
  // What it is told fits into what the kernel and the process hold for it, and not into what the kernel holds alone: it takes none of it.
  const staying = await guestTls(here.port, web, plan.exportName, second);
  const kept = served(here).find((pid) => pid !== own) ?? 0;
  assert.notEqual(kept, 0);
  staying.secured.pause();
  staying.send(requestBytes({ type: CMD.READ, length: 2 * MIB }));
  await until('its first answer', async () => ((await here.dataPath.stats(4))?.readBytes ?? 0) > 2 * MIB);
  assert.equal(await firstByte(guest), 4);
  staying.send(Buffer.concat([requestBytes({ type: CMD.READ, length: 3 * MIB }), requestBytes({ type: CMD.DISC })]));
  let at = 5;
  const drip = setInterval(() => {
    slow?.write(hello.subarray(at, (at += 1)));
    staying.send(Buffer.from([0]));
  }, 250);
  t.after(() => clearInterval(drip));
  const ends = [silent, asked, halfHello, wholeHello, slow].map((tcp) => (tcp === undefined ? null : rawClientOn(tcp).rest()));
  assert.equal(await firstByte(guest), 4);
  await Promise.all([...ends, secured?.rest(), halfOption?.rest()]);
  await until('the end of who said good-bye', () => !served(here).includes(kept));
  clearInterval(drip);
  staying.end();
  await until('one process is left', () => tlsProcesses().length === 1);
  assert.equal(await firstByte(guest), 4, 'the time of a handshake is not that of a connection');
  guest.end();
});

test('two hundred clients that never finish their handshake: who is served goes on, and one from elsewhere is let in', async (t) => {
  const here = await tlsWorld(t);
  const plan = await here.open('web01', 4);
  const web = await clientOf(here, 'web01');
  const guest = await guestTls(here.port, web, plan.exportName);
  const hello = await clientHello();
  const tcps: Socket[] = [];
  t.after(() => tcps.forEach((tcp) => tcp.destroy()));
  const crowd = async (count: number, addresses: number): Promise<void> => {
    const all = Array.from({ length: count }, async (_, index) => {
      const tcp = await connectToTls(here.port, `127.0.2.${1 + (index % addresses)}`).catch(() => null);
      if (tcp === null) return;
      tcp.write(hello.subarray(0, 100));
      tcps.push(tcp);
    });
    await Promise.all(all);
  };
  await crowd(200, 1);
  assert.equal(tcps.length, limits.nbdHandshakesPerAddress);
  const elsewhere = await guestTls(here.port, web, plan.exportName);
  assert.equal(await firstByte(elsewhere), 4);
  await crowd(200, 8);
  assert.ok(tlsProcesses().length <= limits.nbdHandshakes + 2);
  await ask(guest, { type: CMD.WRITE, length: 512 }, Buffer.alloc(512, 5));
  assert.equal(await firstByte(elsewhere), 5);
  for (const tcp of tcps) tcp.destroy();
  const next = await until('the next is let in', () => guestTls(here.port, web, plan.exportName).catch(() => null));
  assert.equal(await firstByte(next), 5);
  for (const client of [guest, elsewhere, next]) client.end();
});
