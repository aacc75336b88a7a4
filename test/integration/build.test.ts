// The build: what it takes for an entry, and that it does nothing when nothing changed.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
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

test('the cache of compiled code is made anew when it is missing, cut off, of something else, or of another program', () => {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-cache-'));
  try {
    cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true, filter: (path) => !path.includes('.compiled') });
    cpSync(join(root, 'package.json'), join(folder, 'package.json'));
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
    const compiled = join(folder, 'dist/.compiled');
    const caches = (): string[] => readdirSync(compiled, { withFileTypes: true }).flatMap((entry) => (entry.isFile() ? [join(compiled, entry.name)] : []));
    const run = (): void => {
      const env = { ...process.env, NODE_OPTIONS: undefined };
      const { status, stdout } = spawnSync(process.execPath, ['--no-rehash-snapshot', join(folder, 'dist/xvd.cjs'), '--version'], { encoding: 'utf8', env });
      assert.deepEqual([status, stdout.trim()], [0, (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version]);
    };
    run();
    const [cache = ''] = caches();
    const whole = statSync(cache).size;
    for (const harm of [() => rmSync(cache), () => truncateSync(cache, 5000), () => writeFileSync(cache, 'no cache')]) {
      harm();
      run();
      assert.equal(caches().length, 1);
      assert.ok(statSync(cache).size > whole / 2);
    }
    // Another program under the same name: the launcher must not take the cache for its own.
    const made = statSync(cache).mtimeMs;
    writeFileSync(join(folder, 'dist/cli-main.cjs'), readFileSync(join(folder, 'dist/cli-main.cjs'), 'utf8').replace(/^\/\/ ..../, '// 0000'));
    run();
    assert.equal(statSync(cache).mtimeMs, made);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
