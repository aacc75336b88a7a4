// The build: what it takes for an entry, and that it does nothing when nothing changed.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { entryName, ownFileReferences, ownFilesFromDist } from '../../scripts/own-files.ts';

const root = resolve(import.meta.dirname, '../..');

test('a source that another starts is found by its URL, an import or another file is not', () => {
  const source =
    "const a = new URL('./child.ts', import.meta.url);\nconst b = new URL('../x/worker.ts', import.meta.url).pathname;\nnew URL('./page.html', import.meta.url);\nawait import('./other.ts');";
  assert.deepEqual(ownFileReferences(source), ['./child.ts', '../x/worker.ts']);
});

test('references of a source lead to its neighbour in dist/, or out of it to the file itself', () => {
  assert.equal(
    ownFilesFromDist('src/daemon/compose.ts', "new URL('../datapath/nbd/connection.ts', import.meta.url)"),
    "new URL('./nbd-connection.cjs', import.meta.url)",
  );
  assert.equal(ownFilesFromDist('src/cli/main.ts', "new URL('../../package.json', import.meta.url)"), "new URL('../package.json', import.meta.url)");
});

test('an entry is named after folder and file, so that two of one name do not meet', () => {
  assert.equal(entryName('src/datapath/nbd/connection.ts'), 'nbd-connection');
  assert.notEqual(entryName('src/cli/main.ts'), entryName('src/daemon/main.ts'));
});

test('a second build changes nothing', () => {
  const build = (): number | null => spawnSync(process.execPath, [join(root, 'scripts/build.ts')], { stdio: 'ignore' }).status;
  const picture = (): string =>
    readdirSync(join(root, 'dist'))
      .filter((name) => !name.startsWith('.compiled'))
      .map((name) => `${name} ${statSync(join(root, 'dist', name)).mtimeMs}`)
      .join('\n');
  assert.equal(build(), 0);
  const before = picture();
  assert.equal(build(), 0);
  assert.equal(picture(), before);
});
