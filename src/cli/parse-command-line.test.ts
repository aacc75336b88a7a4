// From words to a command, its arguments and flags.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commands } from './commands.ts';
import type { Invocation } from './command.ts';
import { findCommand, nearest, parseCommandLine } from './parse-command-line.ts';

function parse(...words: readonly string[]): Invocation {
  const spec = findCommand(commands, words);
  assert.ok(spec !== null);
  return parseCommandLine(spec, words);
}

const refused = (message: RegExp, ...words: readonly string[]): void => assert.throws(() => parse(...words), { code: 'USAGE', message });

test('arguments and flags, in any order, with = or without', () => {
  for (const words of [
    ['create', '64M', '--name', 'web', '--json'],
    ['create', '--name=web', '--json', '64M'],
    ['--json', 'create', '64M', '--name', 'web'],
  ]) {
    const { args, flag, value } = parse(...words);
    assert.deepEqual([args, flag('json'), flag('no-wipe'), value('name'), value('pool')], [['64M'], true, false, 'web', undefined], words.join(' '));
  }
});

test('a list flag may come often, another only once', () => {
  assert.deepEqual(parse('create', '1M', '--label', 'a=1', '--label', 'b=2').values('label'), ['a=1', 'b=2']);
  refused(/--name is given twice/, 'create', '1M', '--name', 'a', '--name', 'b');
});

test('two words before one; a group alone names its commands', () => {
  assert.equal(findCommand(commands, ['domain', 'start', 'x'])?.name, 'domain start');
  assert.equal(findCommand(commands, ['--json']), null);
  refused(/'domain' wants one of start/, 'domain');
});

test('what does not fit is named, with the nearest known word', () => {
  assert.throws(() => parse('lsit'), { code: 'USAGE', fix: /'list'/ });
  refused(/no flag --nme; did you mean --name/, 'create', '1M', '--nme', 'x');
  refused(/SIZE is missing/, 'create');
  refused(/'2M' is one argument too many/, 'create', '1M', '2M');
  refused(/MODE is one of r, w, rw, not 'x'/, 'attach', 'vd:1', 'xvda', '0', 'x');
  refused(/--driver is one of/, 'attach', 'vd:1', 'xvda', '0', '--driver', 'scsi');
});

test('a negative number is a value or an argument, not a flag', () => {
  assert.equal(parse('create', '1M', '--expires', '-5s').value('expires'), '-5s');
  assert.deepEqual(parse('create', '-1M').args, ['-1M']);
  assert.deepEqual(parse('create', '--json', '-1M').args, ['-1M']);
});

test('help asks for no arguments', () => {
  assert.equal(parse('create', '--help').flag('help'), true);
});

test('nearest() knows a word that is few edits away, and no other', () => {
  assert.equal(nearest('creat', ['create', 'delete']), 'create');
  assert.equal(nearest('frobnicate', ['create', 'delete']), null);
});
