// The daemon wipes free space ahead of time, as far as its settings say.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { threadClasses } from '../../src/host/linux/fixture-threads.ts';
import { until } from '../until.ts';
import { builtXvd } from './built-xvd.ts';

const MIB = 2 ** 20;

test('the reserve is wiped in the background, and a disk made of it reads as zeros at once', async (t) => {
  const xvd = builtXvd(t, 40 * MIB);
  writeFileSync(xvd.pool, Buffer.alloc(40 * MIB, 0xee));
  const config = join(xvd.folder, 'xvd.toml');
  writeFileSync(config, 'clean_reserve = "20M"\nwipe_rate = "200M"\n');
  await xvd.json('format', xvd.pool, '--extent-size', '1M');
  await xvd.serve('--config', config);
  const cleanBytes = async (): Promise<number> => (await xvd.json<{ cleanBytes: number }[]>('devices'))[0]?.cleanBytes ?? 0;
  await until('the reserve is clean', async () => (await cleanBytes()) >= 20 * MIB);
  await xvd.stopDaemon();
  assert.equal(await cleanBytes(), 20 * MIB);
  const { uname } = await xvd.json('create', '20M');
  const types = (await xvd.json<{ type: string }[]>('events')).map(({ type }) => type);
  assert.deepEqual([types.includes('pool.cleaned'), types.at(-1)], [true, 'disk.created']);
  const [first] = await xvd.json<{ startSector: number; sectors: number }[]>('extents', String(uname));
  const start = (first?.startSector ?? 0) * 512;
  assert.ok(
    readFileSync(xvd.pool)
      .subarray(start, start + 20 * MIB)
      .every((byte) => byte === 0),
    'I4',
  );
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});

const childrenOf = (pid: number): number[] => readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
const commandOf = (pid: number): string => (existsSync(`/proc/${pid}/cmdline`) ? readFileSync(`/proc/${pid}/cmdline`, 'utf8') : '');
const allIdle = (pid: number): boolean => [...threadClasses(pid).values()].every((kind) => kind === 'idle');

test('the reserve is wiped by a process of the lowest priority, which ends with a daemon that is killed, and leaves nothing behind', async (t) => {
  const xvd = builtXvd(t, 40 * MIB);
  writeFileSync(xvd.pool, Buffer.alloc(40 * MIB, 0xee));
  const config = join(xvd.folder, 'xvd.toml');
  // Slow enough to be met at work.
  writeFileSync(config, 'clean_reserve = "30M"\nwipe_rate = "1M"\n');
  await xvd.json('format', xvd.pool, '--extent-size', '1M');
  const daemon = await xvd.serve('--config', config);
  const wiper = await until('a wiper works', () => childrenOf(daemon.pid ?? 0).find((pid) => commandOf(pid).includes('clean-wiper')));
  const row = await until('it has a row', async () => (await xvd.json<{ recoverable: boolean }[]>('list', '--expired'))[0]);
  assert.equal(row.recoverable, false, 'it was never whole');
  assert.ok(allIdle(wiper), [...threadClasses(wiper)].join(' '));
  assert.equal(getPriority(wiper), 19);
  assert.ok(!allIdle(daemon.pid ?? 0));
  daemon.kill('SIGKILL');
  await until('the wiper has ended', () => !commandOf(wiper).includes('clean-wiper'));
  await xvd.json('create', '35M', '--name', 'all');
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});

test('create wipes at the idle priority when the settings say so', async (t) => {
  const xvd = builtXvd(t, 40 * MIB);
  writeFileSync(xvd.pool, Buffer.alloc(40 * MIB, 0xee));
  const config = join(xvd.folder, 'xvd.toml');
  writeFileSync(config, 'wipe_priority = "idle"\nwipe_rate = "1M"\n');
  await xvd.json('format', xvd.pool, '--extent-size', '1M');
  const create = spawn(resolve(import.meta.dirname, '../../bin/xvd'), ['create', '30M', '--config', config], { env: xvd.environment, stdio: 'ignore' });
  const gone = new Promise((done) => create.once('exit', done));
  const pid = create.pid ?? 0;
  await until('its threads are idle', () => [...threadClasses(pid)].every(([thread, kind]) => (kind === 'idle') === (thread !== pid) || kind === 'none'));
  await until('one of them is', () => [...threadClasses(pid).values()].includes('idle'));
  create.kill('SIGTERM');
  await gone;
  assert.deepEqual(await xvd.json('list'), []);
});
