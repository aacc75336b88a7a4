// The page at `/`: its files, what may run in it, and that it shows nothing of the pool by itself.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { builtXvd } from './built-xvd.ts';

test('the page and its two files are served, and only its own files may run in it', async (t) => {
  const xvd = builtXvd(t);
  await xvd.serve();
  const page = await xvd.ask('GET', '/');
  assert.equal(page.status, 200);
  assert.match(String(page.headers['content-type']), /^text\/html/);
  assert.match(String(page.headers['content-security-policy']), /default-src 'none'; script-src 'self'/);
  for (const [, path = ''] of page.text.matchAll(/(?:src|href)="([^"]+)"/g)) assert.equal((await xvd.ask('GET', path)).status, 200, path);
});

test('GET /map: the runs of each device, ascending, without gaps', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  await xvd.json('create', '64M', '--name', 'web');
  await xvd.serve();
  const { status, body } = await xvd.ask('GET', '/api/v1/map');
  assert.equal(status, 200);
  const [device] = body as [{ extents: number; runs: { firstExtent: number; extents: number; kind: string; name: string | null }[] }];
  let next = 0;
  for (const run of device.runs) {
    assert.equal(run.firstExtent, next);
    next += run.extents;
  }
  assert.equal(next, device.extents);
  assert.equal(device.runs.find(({ kind }) => kind === 'living')?.name, 'web');
});

test('events tell every time as ISO 8601', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  await xvd.json('create', '64M', '--expires', '2h');
  const events = await xvd.json<{ type: string; data: { expiresAt?: unknown } }[]>('events');
  const created = events.find(({ type }) => type === 'disk.created');
  assert.match(String(created?.data.expiresAt), /^\d{4}-\d\d-\d\dT.*Z$/);
});
