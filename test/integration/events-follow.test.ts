// `events --follow` of the built command.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { until } from '../until.ts';
import { builtXvd } from './built-xvd.ts';

test('events are followed from before there is a catalog, or a folder for one', async (t) => {
  const xvd = builtXvd(t);
  const child = spawn(resolve(import.meta.dirname, '../../bin/xvd'), ['events', '--follow', '--json'], {
    env: xvd.environment,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => void (said += chunk.toString()));
  await until('it waits', () => xvd.run('list'));
  await xvd.format();
  await until('the format is told', () => said.includes('device.formatted'));
  await xvd.json('create', '1M', '--no-wipe');
  await until('the create is told', () => said.includes('disk.created'));
  const ended = new Promise((done) => child.once('exit', done));
  child.kill('SIGINT');
  await ended;
  const types = said
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { type: string }).type);
  assert.deepEqual(types, ['device.formatted', 'disk.created']);
});
