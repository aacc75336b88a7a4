// The HTTP API on the daemon's socket: routes, problem documents, Idempotency-Key, events, what surrounds it.

import assert from 'node:assert/strict';
import { statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { errorTable } from '../../src/base/error.ts';
import { until } from '../until.ts';
import { builtXvd, hasKeys } from './built-xvd.ts';
import type { Answer, BuiltXvd } from './built-xvd.ts';

type Row = Record<string, unknown>;
const api = '/api/v1';

async function served(t: TestContext): Promise<BuiltXvd> {
  const xvd = builtXvd(t);
  await xvd.serve();
  assert.equal((await xvd.ask('POST', `${api}/devices`, { body: { device: xvd.pool } })).status, 200);
  return xvd;
}

/** RFC 9457, with the code of the error table. */
function problem(answer: Answer, status: number, code: keyof typeof errorTable): Row {
  assert.deepEqual([answer.status, answer.headers['content-type']], [status, 'application/problem+json'], answer.text);
  const body = answer.body as Row;
  hasKeys(body, ['type', 'title', 'status', 'detail', 'code', 'fix']);
  assert.deepEqual([body['code'], body['status'], body['title']], [code, status, errorTable[code].title]);
  assert.doesNotMatch(answer.text, /\.(ts|js):\d+/);
  return body;
}

const done = (answer: Answer): Row => {
  assert.deepEqual([answer.status, answer.headers['content-type']?.split(';')[0]], [200, 'application/json'], answer.text);
  return answer.body as Row;
};

test('disks: made, listed, shown, refreshed, deleted, restored, in the shapes of --json', async (t) => {
  const xvd = await served(t);
  const made = done(await xvd.ask('POST', `${api}/disks`, { body: { sizeBytes: 10_000_000, expiresInSeconds: 3600, name: 'web', labels: { owner: 'ann' } } }));
  assert.deepEqual([made['id'], made['sizeBytes'], made['state'], made['labels']], [1, 10_002_432, 'live', { owner: 'ann' }]);
  assert.equal(Date.parse(String(made['expiresAt'])) - Date.parse(String(made['createdAt'])), 3_600_000);
  const shown = done(await xvd.ask('GET', `${api}/disks/1`));
  assert.deepEqual(shown, await xvd.json('show', '1'));
  assert.deepEqual(done(await xvd.ask('GET', `${api}/disks/web`)), shown);
  assert.deepEqual(done(await xvd.ask('GET', `${api}/disks`)), [shown]);
  assert.deepEqual(done(await xvd.ask('GET', `${api}/disks/1/extents`)), await xvd.json('extents', 'vd:1'));
  for (const body of [{}, { expiresInSeconds: null }, undefined])
    assert.equal(done(await xvd.ask('POST', `${api}/disks/1/refresh`, { body }))['expiresAt'], null);
  const gone = done(await xvd.ask('DELETE', `${api}/disks/1`));
  assert.deepEqual([gone['state'], gone['changed']], ['expired', true]);
  assert.deepEqual(done(await xvd.ask('GET', `${api}/disks?which=expired`)), await xvd.json('list', '--expired'));
  problem(await xvd.ask('POST', `${api}/disks/1/refresh`, { body: {} }), 409, 'DISK_EXPIRED');
  assert.equal(done(await xvd.ask('POST', `${api}/disks/1/restore`, { body: {} }))['state'], 'live');
  assert.deepEqual(done(await xvd.ask('GET', `${api}/check`)), { problems: [] });
  assert.deepEqual(done(await xvd.ask('GET', `${api}/devices`)), await xvd.json('devices'));
});

test('problems: 404, 422, 400, 507, and what is unknown in a body or a query is refused', async (t) => {
  const xvd = await served(t);
  problem(await xvd.ask('GET', `${api}/disks/9`), 404, 'DISK_NOT_FOUND');
  problem(await xvd.ask('GET', `${api}/nothing`), 404, 'ROUTE_NOT_FOUND');
  problem(await xvd.ask('PUT', `${api}/disks`, { body: {} }), 404, 'ROUTE_NOT_FOUND');
  for (const expiresInSeconds of [0, -1, 1e-9]) {
    assert.match(
      String(problem(await xvd.ask('POST', `${api}/disks`, { body: { sizeBytes: 4096, expiresInSeconds } }), 422, 'VALUE_INVALID')['fix']),
      /`never`/,
      String(expiresInSeconds),
    );
  }
  for (const body of [
    {},
    { sizeBytes: 0 },
    { sizeBytes: -4096 },
    { sizeBytes: 1.5 },
    { sizeBytes: '4096' },
    { sizeBytes: 4096, colour: 'blue' },
    { sizeBytes: 4096, name: '1a' },
    { sizeBytes: 2 ** 60 },
    [],
  ]) {
    problem(await xvd.ask('POST', `${api}/disks`, { body }), 422, 'VALUE_INVALID');
  }
  problem(await xvd.ask('POST', `${api}/disks`, { body: '{"sizeBytes": ' }), 400, 'USAGE');
  problem(await xvd.ask('POST', `${api}/disks`, { body: { sizeBytes: 4096 }, headers: { 'content-type': 'text/plain' } }), 400, 'USAGE');
  problem(await xvd.ask('GET', `${api}/disks?colour=blue`), 400, 'USAGE');
  problem(await xvd.ask('GET', `${api}/disks?limit=x`), 400, 'USAGE');
  problem(await xvd.ask('POST', `${api}/disks`, { body: { sizeBytes: 2 ** 40 } }), 507, 'POOL_FULL');
  problem(await xvd.ask('POST', `${api}/devices`, { body: { device: '/dev/no-such-device' } }), 404, 'DEVICE_NOT_FOUND');
  assert.deepEqual(await xvd.json('list', '--all'), []);
});

test('vbds: attached, listed, refused with level and conflicts (409), detached; a disk in use is busy until forced', async (t) => {
  const xvd = await served(t);
  await xvd.json('create', '1M');
  const body = { source: 'vd:1', target: 'xvda', domain: 'web01', mode: 'w', driver: 'nbd' };
  const attached = done(await xvd.ask('POST', `${api}/vbds`, { body }));
  assert.deepEqual([attached['target'], attached['mode'], attached['state'], attached['changed']], ['/dev/xvda', 'w', 'attached', true]);
  assert.equal(done(await xvd.ask('POST', `${api}/vbds`, { body }))['changed'], false);
  assert.deepEqual(done(await xvd.ask('GET', `${api}/vbds?domain=web01`)), await xvd.json('vbds', 'web01'));
  const refused = problem(await xvd.ask('POST', `${api}/vbds`, { body: { ...body, domain: 'web02' } }), 409, 'SHARING_REFUSED');
  assert.equal(refused['level'], 2);
  hasKeys((refused['conflicts'] as Row[])[0], ['user', 'name', 'mode', 'device', 'startSector', 'sectors']);
  assert.equal(done(await xvd.ask('POST', `${api}/vbds`, { body: { ...body, domain: 'web02', expert: 2, dryRun: true } }))['sharing'], 2);
  problem(await xvd.ask('DELETE', `${api}/disks/1`), 409, 'DISK_BUSY');
  problem(await xvd.ask('DELETE', `${api}/vbds/web01/xvdb`), 404, 'VBD_NOT_FOUND');
  problem(await xvd.ask('DELETE', `${api}/vbds/web01/xvda?force=perhaps`), 400, 'USAGE');
  assert.equal(done(await xvd.ask('DELETE', `${api}/vbds/web01/xvda`))['state'], 'detached');
  done(await xvd.ask('POST', `${api}/vbds`, { body }));
  assert.equal(done(await xvd.ask('DELETE', `${api}/disks/1?force=true`))['state'], 'expired');
  assert.deepEqual(done(await xvd.ask('GET', `${api}/vbds`)), []);
});

test('an Idempotency-Key: the same request is done once, also at once; another request with it is refused; a failed one may be tried again', async (t) => {
  const xvd = await served(t);
  const headers = { 'idempotency-key': 'k1' };
  const make = (sizeBytes: number): Promise<Answer> => xvd.ask('POST', `${api}/disks`, { body: { sizeBytes }, headers });
  const answers = await Promise.all([make(4096), make(4096), make(4096)]);
  assert.deepEqual(
    answers.map((answer) => done(answer)['id']),
    [1, 1, 1],
  );
  problem(await make(8192), 409, 'IDEMPOTENCY_CONFLICT');
  assert.equal((await xvd.json<Row[]>('list')).length, 1);
  const other = { body: { sizeBytes: 4096, name: 'b', pool: 'second' }, headers: { 'idempotency-key': 'k2' } };
  problem(await xvd.ask('POST', `${api}/disks`, other), 404, 'POOL_NOT_FOUND');
  const device = join(xvd.folder, 'second.img');
  writeFileSync(device, Buffer.alloc(8 * 2 ** 20));
  done(await xvd.ask('POST', `${api}/devices`, { body: { device, pool: 'second', extentBytes: 2 ** 20 } }));
  done(await xvd.ask('POST', `${api}/disks`, other));
});

test('events come as they happen, also those of other processes, and go on after Last-Event-ID', async (t) => {
  const xvd = await served(t);
  const first = await listen(xvd, { 'last-event-id': '0' });
  t.after(() => first.stream.destroy());
  await xvd.json('create', '1M');
  const made = await until('the disk of another process is told', () => first.events().find((event) => event.type === 'disk.created'));
  assert.equal((JSON.parse(made.data) as Row)['subject'], 'vd:1');
  const later = await listen(xvd, { 'last-event-id': made.id });
  t.after(() => later.stream.destroy());
  await xvd.json('delete', '1');
  await until('the second stream has it', () => later.events().some((event) => event.type === 'disk.deleted'));
  assert.ok(later.events().every((event) => Number(event.id) > Number(made.id)));
  await until('the first stream goes on', () => first.events().some((event) => event.type === 'disk.deleted'));
  const ids = first.events().map((event) => Number(event.id));
  assert.deepEqual(
    ids,
    [...new Set(ids)].toSorted((a, b) => a - b),
    'each once, in order',
  );
  problem(await xvd.ask('GET', `${api}/events`, { headers: { 'last-event-id': 'x' } }), 400, 'USAGE');
});

type Told = { readonly id: string; readonly type: string; readonly data: string };

function listen(xvd: BuiltXvd, headers: Record<string, string>): Promise<{ stream: IncomingMessage; events: () => Told[] }> {
  const opened = Promise.withResolvers<{ stream: IncomingMessage; events: () => Told[] }>();
  const sent = request({ socketPath: xvd.socket, path: `${api}/events`, headers, agent: false }, (stream) => {
    assert.match(stream.headers['content-type'] ?? '', /^text\/event-stream/);
    let said = '';
    stream.on('data', (chunk: Buffer) => void (said += chunk.toString()));
    stream.on('error', () => undefined);
    const field = (block: string, name: string): string => new RegExp(`^${name}: ?(.*)$`, 'm').exec(block)?.[1] ?? '';
    const events = (): Told[] =>
      said
        .split('\n\n')
        .slice(0, -1)
        .map((block) => ({ id: field(block, 'id'), type: field(block, 'event'), data: field(block, 'data') }));
    opened.resolve({ stream, events });
  });
  sent.once('error', opened.reject).end();
  return opened.promise;
}

test("openapi.json has every route of the contract, metrics end with # EOF, healthz is ok, the socket is its owner's", async (t) => {
  const xvd = await served(t);
  const { openapi, paths } = done(await xvd.ask('GET', `${api}/openapi.json`)) as { openapi: string; paths: Record<string, Row> };
  assert.match(openapi, /^3\.1/);
  const routes = {
    '/disks': ['get', 'post'],
    '/disks/{id}': ['get', 'delete'],
    '/disks/{id}/refresh': ['post'],
    '/disks/{id}/restore': ['post'],
    '/disks/{id}/extents': ['get'],
    '/devices': ['get', 'post'],
    '/vbds': ['get', 'post'],
    '/vbds/{domain}/{target}': ['delete'],
    '/events': ['get'],
    '/check': ['get'],
  };
  for (const [path, methods] of Object.entries(routes))
    for (const method of methods) assert.ok(paths[`${api}${path}`]?.[method] !== undefined, `${method} ${path}`);
  const metrics = await xvd.ask('GET', '/metrics');
  assert.match(metrics.headers['content-type'] ?? '', /^application\/openmetrics-text/);
  assert.match(metrics.text, /^xvd_device_total_bytes\{device=".*",pool="default"\} 268435456$/m);
  assert.ok(metrics.text.endsWith('# EOF\n'));
  assert.equal((await xvd.ask('GET', '/healthz')).status, 200);
  assert.equal(statSync(xvd.socket).mode & 0o777, 0o600);
});

test('a second daemon of the same catalog is refused (6), and the socket of the first still answers', async (t) => {
  const xvd = await served(t);
  await xvd.refused(6, 'DAEMON_RUNNING', 'serve');
  assert.equal((await xvd.ask('GET', '/healthz')).status, 200);
});

test('over TCP only with a token; not on loopback only with TLS', async (t) => {
  const xvd = builtXvd(t);
  const token = join(xvd.folder, 'token');
  writeFileSync(token, 'a-token-of-this-test-only\n');
  await xvd.refused(2, 'USAGE', 'serve', '--listen', '127.0.0.1:0');
  await xvd.refused(2, 'USAGE', 'serve', '--listen', '0.0.0.0:0', '--token-file', token);
  await xvd.refused(2, 'VALUE_INVALID', 'serve', '--listen', 'nowhere', '--token-file', token);
  const daemon = await xvd.serve('--listen', '127.0.0.1:0', '--token-file', token);
  assert.equal(daemon.exitCode, null);
});
