import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { udevRules } from './udev-rules.ts';

test('the rules in docs/ are those that the daemon makes for the usual folder', () => {
  assert.equal(readFileSync(join(import.meta.dirname, '../../docs/56-xvd.rules'), 'utf8'), udevRules('/run/xvd'));
});

test('every jump has its label, once', () => {
  const rules = udevRules('/run/elsewhere');
  for (const [, label] of rules.matchAll(/GOTO="(\w+)"/g)) assert.equal(rules.split(`LABEL="${label}"`).length, 2);
  assert.match(rules, /"\/run\/elsewhere\/dom0\/\*"/);
});
