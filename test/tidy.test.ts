// The house rules as tests: who imports whom, sizes, what must not be written, dependencies that are accounted for.
// Each rule is tried on a small input that breaks it, so that none can pass by looking at nothing.

import assert from 'node:assert/strict';
import { globSync, readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { importCycle, importProblems, importsOf, type Source } from './tidy/imports.ts';
import { banProblems, fileSizeProblems, functionSizeProblems, FILE_LINES, FUNCTION_LINES, MEDIAN_LINES, medianLines } from './tidy/shape.ts';
import { layerEdges, ranksOf } from './tidy/drawing.ts';
import { bans, layers } from './tidy/table.ts';

const root = resolve(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(resolve(root, path), 'utf8');
const sourcesOf = (...patterns: string[]): readonly Source[] =>
  globSync(patterns, { cwd: root })
    .toSorted()
    .map((path) => ({ path, text: read(path) }));

const all = sourcesOf('src/**/*.ts', 'test/**/*.ts', 'scripts/**/*.ts', 'bench/**/*.ts', 'lab/**/*.ts', 'demo/**/*.ts');
const src = all.filter(({ path }) => path.startsWith('src/'));
// Tests, and the contract suites and fixtures that they share, may look at anything beside them.
const production = src.filter(({ path }) => !/\.test\.ts$|\/(contract|fixture)[^/]*\.ts$/.test(path));
const one = (path: string, text: string): readonly Source[] => [{ path, text }];

test('every source imports only what the import table allows', () => {
  assert.ok(production.length > 50, 'the sources are found');
  assert.deepEqual(importProblems(production, layers), []);
});

test('the import table refuses what points upwards or sideways', () => {
  const refused: readonly (readonly [string, string])[] = [
    ['src/base/a.ts', "import { b } from '../core/b.ts';"],
    ['src/core/a.ts', "import { readFileSync } from 'node:fs';"],
    ['src/core/a.ts', "import { z } from 'zod';"],
    ['src/catalog/catalog.ts', "import { allocate } from '../core/allocate.ts';"],
    ['src/datapath/nbd/a.ts', "import { b } from '../dm/b.ts';"],
    ['src/datapath/nbd/a.ts', "import type { Host } from '../../host/host.ts';"],
    ['src/app/a.ts', "import { b } from '../catalog/sqlite/b.ts';"],
    ['src/app/a.ts', "const b = await import('../api/b.ts');"],
    ['src/api/a.ts', "import { b } from '../daemon/compose.ts';"],
    ['src/cli/a.ts', "export { b } from '../app/b.ts';"],
    ['src/cli/a.ts', "import { z } from 'zod';"],
    ['src/app/a.ts', "import { b } from './b.test.ts';"],
    ['src/app/a.ts', "import { b } from './b';"],
    ['src/elsewhere/a.ts', ''],
  ];
  for (const [path, text] of refused) assert.equal(importProblems(one(path, text), layers).length, 1, `${path}: ${text}`);
  const allowed: readonly (readonly [string, string])[] = [
    ['src/catalog/catalog.ts', "import type { Disk } from '../core/types.ts';"],
    ['src/app/a.ts', "import {\n  one,\n  two,\n} from '../core/b.ts';"],
    ['src/cli/a.ts', "import { type z } from 'zod';"],
    ['src/host/linux/a.ts', "// import { b } from '../simulated/b.ts';\nimport { b } from './b.ts';"],
  ];
  for (const [path, text] of allowed) assert.deepEqual(importProblems(one(path, text), layers), [], `${path}: ${text}`);
  assert.deepEqual(importsOf("import './a.ts';\nimport d, { type B, c } from './b.ts';"), [
    { target: './b.ts', typesOnly: false },
    { target: './a.ts', typesOnly: false },
  ]);
});

test('no source imports itself in a circle', () => {
  assert.equal(importCycle(src), null);
  const circle = [...one('src/a.ts', "import { b } from './b.ts';"), ...one('src/b.ts', "import type { a } from './a.ts';")];
  assert.deepEqual(importCycle(circle), ['src/a.ts', 'src/b.ts', 'src/a.ts']);
});

test('drawn by layer, every arrow points downwards', () => {
  const ranks = ranksOf(layerEdges(production, layers));
  assert.equal(ranks.get('base'), 0);
  assert.ok((ranks.get('core') ?? 0) < (ranks.get('app') ?? 0));
  const circle = [...one('src/app/a.ts', "import { b } from '../api/b.ts';"), ...one('src/api/b.ts', "import type { a } from '../app/a.ts';")];
  assert.throws(() => ranksOf(layerEdges(circle, layers)), /circle of layers: api -> app -> api/);
});

test(`every file has under ${FILE_LINES} lines, the median of src under ${MEDIAN_LINES}`, () => {
  assert.deepEqual(fileSizeProblems(all), []);
  assert.ok(medianLines(production) < MEDIAN_LINES, `the median is ${medianLines(production)} lines`);
  assert.equal(fileSizeProblems(one('src/a.ts', 'x\n'.repeat(FILE_LINES))).length, 1);
  assert.equal(medianLines([...one('a', 'x'), ...one('b', 'x\nx'), ...one('c', 'x\nx\nx')]), 2);
});

test(`every function of src has at most ${FUNCTION_LINES} lines`, () => {
  assert.deepEqual(functionSizeProblems(production), []);
  const body = '  step();\n'.repeat(FUNCTION_LINES);
  for (const opening of [
    'function long(a: string): void {',
    'export async function long<T>(a: T) {',
    'const long = async (a: string) => {',
    '  async long(a: string): Promise<void> {',
  ]) {
    const indent = /^ */.exec(opening)?.[0] ?? '';
    const text = `${opening}\n${indent ? body.replaceAll('  step', '    step') : body}${indent}}\n`;
    assert.equal(functionSizeProblems(one('src/a.ts', text)).length, 1, opening);
  }
  assert.deepEqual(functionSizeProblems(one('src/a.ts', `function short() {\n  step();\n}\n${'step();\n'.repeat(FUNCTION_LINES)}}\n`)), []);
});

test('nothing is written that must not be', () => {
  const documents = sourcesOf('*.md', 'docs/**/*.md', 'Makefile', 'scripts/**/*.sh', 'bin/*', '.ci/run', 'package.json');
  assert.deepEqual(banProblems([...all, ...documents], bans), []);
});

/** Put together here, so that this file does not break what it checks. */
const joined = (...halves: string[]): string => halves.join('');

test('each thing that must not be written is noticed', () => {
  const broken: readonly (readonly [string, string])[] = [
    ['src/core/a.ts', 'export async function a() {}'],
    ['src/app/a.ts', 'const now = Date.now();'],
    ['src/core/a.ts', 'const now = new Date();'],
    ['src/cli/a.ts', 'const chance = Math.random();'],
    ['src/cli/a.ts', 'enum Mode { r }'],
    ['src/cli/a.ts', 'export default 1;'],
    ['src/cli/a.ts', joined('// TO', 'DO: later')],
    ['docs/a.md', joined('cd /wo', 'rk/x')],
    ['src/cli/a.ts', joined("const folder = '/tm", "p/xvd';")],
    ['src/cli/a.test.ts', joined('test.sk', "ip('a', () => {});")],
    ['src/cli/a.test.ts', joined("test('a', { sk", 'ip: !isRoot }, () => {});')],
    ['src/cli/a.test.ts', joined('await new Promise((done) => setTime', 'out(done, 100));')],
  ];
  for (const [path, text] of broken) assert.equal(banProblems(one(path, text), bans).length, 1, `${path}: ${text}`);
  assert.deepEqual(banProblems(one('src/core/a.ts', '// async is for others\nexport const at = new Date(0);'), bans), []);
});

const undocumented = (names: readonly string[], document: string): readonly string[] => names.filter((name) => !document.includes(`| \`${name}\` |`));

test('every dependency has its line in docs/dependencies.md, and no other has one', () => {
  const manifest = JSON.parse(read('package.json')) as Record<string, Record<string, string>>;
  const versions = ['dependencies', 'optionalDependencies', 'devDependencies'].flatMap((kind) => Object.entries(manifest[kind] ?? {}));
  const names = versions.map(([name]) => name);
  const document = read('docs/dependencies.md');
  assert.deepEqual(undocumented(names, document), []);
  const listed = [...document.matchAll(/^\| `([^`]+)` \|/gm)].map((match) => match[1] ?? '');
  assert.deepEqual(
    listed.filter((name) => !names.includes(name)),
    [],
  );
  assert.deepEqual(
    versions.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version)),
    [],
    'versions are exact',
  );
  assert.deepEqual(undocumented(['left-pad'], '| `right-pad` | … |'), ['left-pad']);
});

const hosts = (lock: string): readonly string[] => [...lock.matchAll(/"resolved": *"([^"]*)"/g)].map((match) => match[1] ?? '');

test('the lock file names no registry, and vouches for every package by its hash', () => {
  const lock = read('package-lock.json');
  assert.deepEqual(hosts(lock), []);
  const { packages } = JSON.parse(lock) as { packages: Record<string, { integrity?: string }> };
  assert.deepEqual(
    Object.entries(packages).filter(([path, entry]) => path !== '' && entry.integrity === undefined),
    [],
  );
  assert.equal(hosts('{"resolved": "https://registry.example/a.tgz"}').length, 1);
});

test('the old commands are one script under sixteen names', () => {
  const names = readdirSync(resolve(root, 'bin')).filter((name) => name !== 'xvd');
  assert.equal(names.length, 16);
  assert.equal(new Set(names.map((name) => read(`bin/${name}`))).size, 1);
});
