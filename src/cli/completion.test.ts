// Completion, run in a real bash.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { commands } from './commands.ts';
import { completionOf } from './completion.ts';

/** What bash offers for the last of the words. */
function offered(...words: readonly string[]): string[] {
  const quoted = words.map((word) => `'${word}'`).join(' ');
  const script = `${completionOf('bash', commands)}\nCOMP_WORDS=(${quoted})\nCOMP_CWORD=${words.length - 1}\n_xvd\nprintf '%s\\n' "\${COMPREPLY[@]}"\n`;
  const { status, stdout, stderr } = spawnSync('bash', ['--norc', '-u', '-c', script], { encoding: 'utf8' });
  assert.deepEqual([status, stderr], [0, '']);
  return stdout.split('\n').filter((line) => line !== '');
}

test('commands by their beginning, and all of them', () => {
  assert.deepEqual(offered('xvd', 'cre'), ['create']);
  const all = offered('xvd', '');
  for (const { name } of commands) assert.ok(all.includes(name.split(' ')[0] ?? ''), name);
});

test('the second word of a group', () => {
  const names = commands.flatMap(({ name }) => (name.startsWith('domain ') ? [name.slice('domain '.length)] : []));
  assert.deepEqual(offered('xvd', 'domain', ''), names);
  assert.deepEqual(offered('xvd', 'domain', 'con'), ['console']);
});

test('flags and choices of the command that is there', () => {
  assert.deepEqual(offered('xvd', 'create', '--on'), ['--on-expiry']);
  assert.deepEqual(offered('xvd', 'list', '--ex'), ['--expired']);
  assert.deepEqual(offered('xvd', 'completion', 'z'), ['zsh']);
  assert.deepEqual(offered('xvd', 'domain', 'stop', 'web', '--fo'), ['--force']);
  assert.deepEqual(offered('xvd', 'delete', '5', '--f'), ['--force']);
});

test('zsh and fish have every command', () => {
  assert.match(completionOf('zsh', commands), /^#compdef xvd\n/);
  const fish = completionOf('fish', commands);
  for (const { name } of commands) assert.match(fish, new RegExp(` -a ${name.split(' ').at(-1)} `));
});
