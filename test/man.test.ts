// The manual pages and the settings' example are what the tables of the product say.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { manPages } from '../scripts/man-pages.ts';
import { commands } from '../src/cli/commands.ts';

const root = resolve(import.meta.dirname, '..');

test('docs/man is what `make man` writes from the table of commands', () => {
  const pages = manPages(commands);
  assert.deepEqual(readdirSync(resolve(root, 'docs/man')).toSorted(), [...pages.keys()].toSorted());
  for (const [name, text] of pages) assert.equal(readFileSync(resolve(root, 'docs/man', name), 'utf8'), text, `${name}: run make man`);
});

test('docs/xvd.toml.example names every key of the settings, and no other', () => {
  const known = /const keys\b[^=]*= \{([^}]+)\}/.exec(readFileSync(resolve(root, 'src/daemon/settings.ts'), 'utf8'))?.[1] ?? '';
  const keys = [...known.matchAll(/^\s*(\w+):/gm)].map(([, key]) => key);
  const shown = [...readFileSync(resolve(root, 'docs/xvd.toml.example'), 'utf8').matchAll(/^#?(\w+) = /gm)].map(([, key]) => key);
  assert.ok(keys.length > 0);
  assert.deepEqual(shown.toSorted(), keys.toSorted());
});
