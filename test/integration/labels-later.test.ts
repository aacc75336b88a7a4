// Labels without a daemon: a command leaves a process behind that writes them, one for a burst of commands, and nothing stays.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { decodeLabel, LABEL_HEADER_BYTES } from '../../src/core/label.ts';
import { MIB } from '../../src/base/units.ts';
import { labelWriters } from '../label-writers.ts';
import { until } from '../until.ts';

const xvd = resolve(import.meta.dirname, '../../bin/xvd');
let folder = '';
let device = '';
const environment = (): NodeJS.ProcessEnv => ({ ...process.env, XVD_STATE: join(folder, 'state'), XVD_RUN: join(folder, 'run') });

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'xvd-labels-'));
  device = join(folder, 'device');
  writeFileSync(device, '');
  truncateSync(device, 64 * MIB);
  run('format', device, '--extent-size', '1M', '--force');
});
afterEach(async () => {
  await until('the writers have ended', () => writers().length === 0);
  rmSync(folder, { recursive: true, force: true });
});

function run(...words: string[]): string {
  const { status, stdout, stderr } = spawnSync(xvd, words, { env: environment(), encoding: 'utf8' });
  assert.equal(status, 0, `${words.join(' ')}: ${stderr}`);
  return stdout;
}

const writers = (): readonly number[] => labelWriters(folder);

/** The highest disk that the label at the head knows; null = there is no label. */
function known(): number | null {
  const head = new Uint8Array(LABEL_HEADER_BYTES);
  const descriptor = openSync(device, 'r');
  try {
    readSync(descriptor, head, 0, head.length, 0);
  } finally {
    closeSync(descriptor);
  }
  return decodeLabel(head)?.highestDiskId ?? null;
}

test('the last command of a burst reaches the labels, by few processes, and nothing of them is left', async () => {
  const seen = new Set<number>();
  for (let index = 0; index < 8; index += 1) {
    run('create', '1M');
    for (const pid of writers()) seen.add(pid);
  }
  assert.ok(seen.size < 8, `${seen.size} processes`);
  await until('the labels know the last disk', () => known() === 8);
  await until('the writers have ended', () => writers().length === 0);
  assert.ok(!existsSync(join(folder, 'run/labels.due')));
});

test('without the catalog, all that was made just before comes back from the devices', async () => {
  run('create', '1M', '--name', 'one');
  await until('the labels know the disk', () => known() === 1);
  await until('the writer has ended', () => writers().length === 0);
  rmSync(join(folder, 'state'), { recursive: true });
  run('recover', '--from-devices', '--device', device);
  assert.match(run('list', '--all'), /one/);
});

test('a writer that was killed while it waited keeps nobody waiting for long', async () => {
  run('create', '1M');
  await until('the labels know the first disk', () => known() === 1);
  run('create', '1M');
  for (const pid of writers()) process.kill(pid, 'SIGKILL');
  await until('they have gone', () => writers().length === 0);
  const mark = join(folder, 'run/labels.due');
  // Left behind by it, or by one that was killed before it could leave anything; long ago.
  writeFileSync(mark, '');
  utimesSync(mark, 1, 1);
  run('create', '1M');
  await until('the next command starts another', () => known() === 3);
});

test('a device that leaves the pool under a writer gets no label back', async () => {
  run('create', '1M');
  run('delete', 'vd:1');
  run('unformat', device);
  await until('the writers have ended', () => writers().length === 0);
  assert.equal(known(), null);
});

test('a writer whose catalog has gone makes nothing', async () => {
  run('create', '1M');
  const work = JSON.stringify({ stateFolder: join(folder, 'gone'), runFolder: join(folder, 'gone-run') });
  const program = resolve(import.meta.dirname, '../../src/daemon/label-writer.ts');
  const child = spawn(process.execPath, [program, work], { stdio: 'ignore' });
  const status = await new Promise((ended) => child.once('exit', ended));
  assert.equal(status, 0);
  assert.ok(!existsSync(join(folder, 'gone')) && !existsSync(join(folder, 'gone-run')));
});
