// NBD over TCP by real clients: libnbd (GnuTLS) and qemu-img; certificates are made here, by openssl.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { until } from '../../../test/until.ts';
import { limits } from '../../base/limits.ts';
import { MIB } from '../../base/units.ts';
import { certify, listen, makeAuthority, pathOn, tlsWorld } from './fixture-tls.ts';
import { livingProcesses } from './process-records.ts';
import { vbdFolder } from './vbd-folder.ts';

const run = promisify(execFile);

/** What the program said when it failed. */
async function failure(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    return (error as { stderr?: string }).stderr ?? '';
  }
  return assert.fail('it was let in');
}

test('nbdcopy and qemu-img read and write through TLS what lies on the device, flushed', async (t) => {
  const here = await tlsWorld(t);
  const plan = await here.open('web01', 4);
  const client = await certify(here.authority, here.authority, 'client', 'web01');
  const uri = here.uri(plan.exportName, client);
  const image = join(here.folder, 'image');
  const data = Buffer.alloc(4 * MIB);
  for (let at = 0; at < data.length; at += 4) data.writeUInt32LE((at * 2654435761) >>> 0, at);
  writeFileSync(image, data);
  await run('nbdcopy', ['--flush', image, uri]);
  const device = readFileSync(plan.devices[0]?.path ?? '');
  assert.ok(device.subarray(6 * MIB, 8 * MIB).equals(data.subarray(0, 2 * MIB)) && device.subarray(2 * MIB, 4 * MIB).equals(data.subarray(2 * MIB)));
  const copy = join(here.folder, 'copy');
  await run('nbdcopy', [uri, copy]);
  assert.ok(readFileSync(copy).equals(data));
  const options = `driver=nbd,server.type=inet,server.host=127.0.0.1,server.port=${here.port},export=${plan.exportName},tls-creds=tls0`;
  const credentials = `tls-creds-x509,id=tls0,endpoint=client,dir=${client}`;
  await run('qemu-img', ['convert', '--object', credentials, '--image-opts', options, '-O', 'raw', `${copy}2`]);
  assert.ok(readFileSync(`${copy}2`).equals(data));
  assert.deepEqual((await here.dataPath.stats(4))?.errors, 0);
});

test('a certificate opens the domains that it names, and hears of no other', async (t) => {
  const here = await tlsWorld(t);
  const first = await here.open('web01', 4);
  const second = await here.open('db01', 5);
  const web = await certify(here.authority, here.authority, 'client', 'web01');
  const both = await certify(here.authority, here.authority, 'client', 'operator', ['web01', 'db01']);
  const listed = async (certificates: string): Promise<string[]> => {
    const { stdout } = await run('nbdinfo', ['--list', '--json', here.uri('', certificates)]);
    return (JSON.parse(stdout) as { exports: { 'export-name': string }[] }).exports.map((one) => one['export-name']);
  };
  assert.deepEqual(await listed(web), [first.exportName]);
  assert.deepEqual(await listed(both), [first.exportName, second.exportName]);
  assert.match(await failure(run('nbdinfo', [here.uri(second.exportName, web)])), /No such file or directory for export/);
  assert.equal((await run('nbdinfo', ['--size', here.uri(second.exportName, both)])).stdout.trim(), String(4 * MIB));
  assert.match(await failure(run('nbdinfo', [here.uri('web01/xvda@3', web)])), /No such file or directory for export/, 'another generation is another export');
});

test('without TLS, without a certificate, or with one that a stranger signed: nothing is told and nothing opened', async (t) => {
  const here = await tlsWorld(t);
  const plan = await here.open('web01', 4);
  assert.match(await failure(run('nbdinfo', [`nbd://127.0.0.1:${here.port}/${encodeURIComponent(plan.exportName)}`])), /not supported/);
  assert.match(await failure(run('nbdinfo', ['--list', `nbd://127.0.0.1:${here.port}/`])), /not supported/);
  const stranger = await makeAuthority(here.folder, 'stranger');
  const forged = await certify(stranger, here.authority, 'client', 'web01');
  await failure(run('nbdinfo', [here.uri(plan.exportName, forged)]));
  const none = mkdtempSync(join(here.folder, 'none-'));
  writeFileSync(join(none, 'ca-cert.pem'), readFileSync(join(here.authority.folder, 'ca-cert.pem')));
  await failure(run('nbdinfo', [here.uri(plan.exportName, none)]));
  assert.deepEqual(livingProcesses(vbdFolder(here.folder, 4)), []);
  assert.equal((await here.dataPath.stats(4))?.reads, 0);
});

test('bytes behind STARTTLS that came before TLS end the connection', async (t) => {
  const here = await tlsWorld(t);
  const socket = connect(here.port, '127.0.0.1');
  const option = Buffer.alloc(16);
  option.write('IHAVEOPT', 0);
  option.writeUInt32BE(5, 8);
  socket.write(Buffer.concat([Buffer.from([0, 0, 0, 3]), option, Buffer.from('IHAVEOPT')]));
  const [closed, data] = [Promise.withResolvers<void>(), [] as Buffer[]];
  socket.on('data', (chunk: Buffer) => data.push(chunk));
  socket.once('close', () => closed.resolve());
  socket.once('error', () => {});
  await closed.promise;
  assert.equal(Buffer.concat(data).length, 18, 'the greeting, and no word after it');
});

test('who takes all places of one address leaves those of the others', async (t) => {
  const here = await tlsWorld(t);
  const sockets: Socket[] = [];
  t.after(() => sockets.forEach((socket) => socket.destroy()));
  /** Bytes of the greeting that it gets, 0 when it is turned away. */
  const greeted = (localAddress: string): Promise<number> =>
    new Promise((resolve) => {
      const socket = connect({ port: here.port, host: '127.0.0.1', localAddress });
      sockets.push(socket);
      socket.once('data', (data: Buffer) => resolve(data.length));
      socket.once('close', () => resolve(0)).once('error', () => resolve(0));
    });
  const first = await Promise.all(Array.from({ length: limits.nbdHandshakesPerAddress }, () => greeted('127.0.0.1')));
  assert.deepEqual(new Set(first), new Set([18]));
  assert.equal(await greeted('127.0.0.1'), 0);
  assert.equal(await greeted('127.0.0.2'), 18);
  sockets[0]?.destroy();
  await until('a place that was left is to be had again', async () => (await greeted('127.0.0.1')) === 18);
});

test('a connection goes on when the daemon ends, the next daemon knows it, and closing ends it for good', async (t) => {
  const here = await tlsWorld(t);
  const plan = await here.open('web01', 4);
  const client = await certify(here.authority, here.authority, 'client', 'web01');
  const script = [
    'import nbd, sys',
    'h = nbd.NBD()',
    'h.set_uri_allow_local_file(True)',
    `h.connect_uri(${JSON.stringify(here.uri(plan.exportName, client))})`,
    'for line in sys.stdin:',
    '  try:',
    '    h.pwrite(bytes([int(line)]) * 512, 0, nbd.CMD_FLAG_FUA)',
    '    print(h.pread(1, 0)[0], flush=True)',
    '  except nbd.Error as e:',
    '    print("failed", flush=True)',
  ].join('\n');
  const python = execFile('/usr/bin/python3', ['-c', script]);
  t.after(() => python.kill());
  const said: string[] = [];
  python.stdout?.on('data', (text: string) => said.push(...text.split('\n').filter((line) => line !== '')));
  const tell = async (value: number): Promise<string> => {
    const before = said.length;
    python.stdin?.write(`${value}\n`);
    await until('an answer', () => said.length > before);
    return said.at(-1) ?? '';
  };
  assert.equal(await tell(7), '7');
  await here.dataPath[Symbol.asyncDispose]();
  assert.equal(await tell(8), '8');
  const next = pathOn(here.folder);
  await next.open(plan);
  assert.equal((await next.stats(4))?.connections, 1);
  assert.equal(await tell(9), '9');
  assert.equal(readFileSync(plan.devices[0]?.path ?? '')[6 * MIB], 9);
  await next.close(4);
  assert.equal(await next.isGone(4), true);
  assert.equal(await tell(10), 'failed');
  assert.equal(readFileSync(plan.devices[0]?.path ?? '')[6 * MIB], 9);
  await next[Symbol.asyncDispose]();
});

test('files that are no certificates, a key that everybody may read, a port that is taken: a clear refusal at once', async (t) => {
  const here = await tlsWorld(t);
  await assert.rejects(listen(here.dataPath, here.server, here.port), { code: 'NOT_PERMITTED' });
  chmodSync(join(here.server, 'server-key.pem'), 0o644);
  await assert.rejects(listen(here.dataPath, here.server), { code: 'VALUE_INVALID', message: /everybody/ });
  writeFileSync(join(here.server, 'server-cert.pem'), 'no certificate');
  await assert.rejects(listen(here.dataPath, here.server), { code: 'VALUE_INVALID', message: /server-cert/ });
});
