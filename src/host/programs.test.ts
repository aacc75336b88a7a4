import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openPrograms } from './programs.ts';
import type { Programs } from './programs.ts';

/** `blkid`, as a shell script of the test. */
async function withScript(text: string): Promise<AsyncDisposable & { readonly programs: Programs }> {
  const folder = await mkdtemp(join(tmpdir(), 'xvd-programs-'));
  const path = join(folder, 'blkid');
  await writeFile(path, `#!/bin/sh\n${text}\n`);
  await chmod(path, 0o700);
  return { programs: openPrograms({ searchPath: folder }), [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
}

const fails = (code: string, said: RegExp) => (error: unknown) => (error as { code?: string }).code === code && said.test((error as Error).message);

test('run() hands over arguments as they are, and gives output and status', async () => {
  await using script = await withScript('printf "%s|" "$@"; cat; echo told >&2; exit 3');
  const result = await script.programs.run('blkid', ['a b', '$HOME', ''], { input: 'in', okStatus: [3] });
  assert.deepEqual(result, { status: 3, stdout: 'a b|$HOME||in', stderr: 'told\n' });
});

test('a failure says what the program said', async () => {
  await using script = await withScript('echo "no such thing" >&2; exit 4');
  await assert.rejects(script.programs.run('blkid', ['x']), fails('PROGRAM_FAILED', /blkid x: exit status 4: no such thing/));
});

test('a missing program names its Debian package', async () => {
  await using script = await withScript('exit 0');
  assert.ok(script.programs.require('blkid').endsWith('/blkid'));
  assert.throws(() => openPrograms({ searchPath: '' }).require('sqlite'), fails('PROGRAM_MISSING', /sqlite is not installed/));
});

test('too long, too much and told to stop: each ends the program', async () => {
  await using sleeper = await withScript('exec tail -f /dev/null');
  await assert.rejects(sleeper.programs.run('blkid', [], { timeoutMs: 20 }), fails('PROGRAM_FAILED', /not done after 20 ms/));
  const stop = new AbortController();
  const running = sleeper.programs.run('blkid', [], { signal: stop.signal });
  stop.abort(new Error('told to stop'));
  await assert.rejects(running, /told to stop/);
  await using talker = await withScript('exec yes');
  await assert.rejects(talker.programs.run('blkid', [], { outputBytes: 1000 }), fails('PROGRAM_FAILED', /said more than 1000 bytes/));
});
