// Bundles src/ into dist/: the command, the processes it starts, the library, and the library's declarations.
// Nothing to do when no source has changed since. Files are put in place one by one, entries last, and old chunks
// stay for a while: a command that runs during a build still finds all of its own.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, globSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative, resolve } from 'node:path';
import type { BuildOptions, Plugin } from 'esbuild';
import { entryName, ownFileReferences, ownFilesFromDist } from './own-files.ts';

const root = resolve(import.meta.dirname, '..');
const dist = join(root, 'dist');
const stampFile = join(dist, '.stamp');
/** Chunks of an earlier build are kept this long for processes that still load them. */
const keepOldMs = 3_600_000;

const sources = globSync('src/**/*', { cwd: root })
  .filter((file) => statSync(join(root, file)).isFile() && !file.endsWith('.test.ts'))
  .toSorted();

function inputHash(): string {
  const hash = createHash('sha256');
  const settings = ['package-lock.json', 'tsconfig.json', 'tsconfig.build.json', 'scripts/build.ts', 'scripts/own-files.ts'];
  for (const file of [...settings, ...sources]) hash.update(`${file}\0`).update(readFileSync(join(root, file)));
  return hash.digest('hex');
}

/** src/… of each entry by its name in dist/: the two faces, and whatever a source names by `new URL('./x.ts', import.meta.url)`. */
function entryPoints(): Map<string, string> {
  const entries = new Map<string, string>();
  for (const [name, file] of [
    ['cli-main', 'src/cli/main.ts'],
    ['xvd', 'src/cli/launch.ts'],
    ['index', 'src/index.ts'],
  ] as const)
    if (existsSync(join(root, file))) entries.set(name, file);
  for (const file of sources.filter((source) => source.endsWith('.ts'))) {
    for (const target of ownFileReferences(readFileSync(join(root, file), 'utf8'))) {
      const path = relative(root, resolve(root, dirname(file), target));
      if (path.startsWith('src/') && existsSync(join(root, path))) entries.set(entryName(path), path);
    }
  }
  return entries;
}

const ownFiles: Plugin = {
  name: 'own-files',
  setup(hooks) {
    hooks.onLoad({ filter: /\/src\/.*\.ts$/ }, ({ path }) => ({ contents: ownFilesFromDist(relative(root, path), readFileSync(path, 'utf8')), loader: 'ts' }));
  },
};

/** Importing node:http reads all of its members, and three of them load Node's whole web client (40 ms): only the others are passed on. */
const leanHttp: Plugin = {
  name: 'lean-http',
  setup(hooks) {
    hooks.onResolve({ filter: /^(node:)?https?$/ }, ({ path }) => ({ path: path.replace(/^(node:)?/, 'node:'), namespace: 'lean-http' }));
    hooks.onLoad({ filter: /.*/, namespace: 'lean-http' }, ({ path }) => {
      const members = Object.entries(Object.getOwnPropertyDescriptors(process.getBuiltinModule(path)));
      const names = members.flatMap(([name, { get }]) => (get === undefined ? [name] : []));
      return { contents: `const all = process.getBuiltinModule('${path}');\nexport const { ${names.join(', ')} } = all;\nexport default all;\n` };
    });
  },
};

function place(path: string, contents: string | Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true });
  const half = `${path}.${process.pid}.half`;
  writeFileSync(half, contents);
  renameSync(half, path);
}

function removeOld(fresh: ReadonlySet<string>): void {
  for (const name of readdirSync(dist)) {
    const path = join(dist, name);
    if (fresh.has(name) || !/\.(c?js|half)$/.test(name)) continue;
    if (Date.now() - statSync(path).mtimeMs > keepOldMs) rmSync(path, { force: true });
  }
}

/** As bin/xvd starts it: a command or two in a folder of its own, so that the cache of compiled code is there from the first use on; without it all works, slower. */
function warmUp(): void {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-build-'));
  const env = { ...process.env, XVD_STATE: join(folder, 'state'), XVD_RUN: join(folder, 'run'), NODE_OPTIONS: undefined };
  const xvd = (...words: string[]): void =>
    void spawnSync(process.execPath, ['--no-rehash-snapshot', join(dist, 'xvd.cjs'), ...words], { env, stdio: 'ignore', timeout: 60_000 });
  try {
    const device = join(folder, 'device');
    writeFileSync(device, '');
    truncateSync(device, 8 * 1024 * 1024);
    xvd('format', device, '--extent-size', '1M', '--force');
    // What is kept is what the first command had compiled: it is to be the one that is waited for most.
    rmSync(join(dist, '.compiled'), { recursive: true, force: true });
    xvd('create', '1M');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function declarations(): void {
  if (!existsSync(join(root, 'src/index.ts'))) return;
  const tsc = spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json'], { cwd: root, encoding: 'utf8' });
  if (tsc.status !== 0) process.stderr.write(`build: declarations are incomplete\n${tsc.stdout}${tsc.stderr}`);
}

const hash = inputHash();
if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === hash && existsSync(join(dist, 'xvd.cjs'))) process.exit(0);

const { build } = await import('esbuild');
const entries = entryPoints();
const entriesOf = (wanted: (name: string) => boolean): Record<string, string> => Object.fromEntries([...entries].filter(([name]) => wanted(name)));
const common: BuildOptions & { write: false } = {
  absWorkingDir: root,
  outdir: dist,
  write: false,
  bundle: true,
  platform: 'node',
  target: 'node26',
  // koffi finds its binary beside itself; pino starts workers from its own files.
  external: ['koffi', 'pino'],
  minifySyntax: true,
  legalComments: 'none',
  logLevel: 'warning',
  plugins: [ownFiles, leanHttp],
};
// Programs are one CommonJS file each: it is read at once, and what a module imports is loaded only when that module is first
// used (as ES modules, all that any command needs of Node would be loaded by each). The library is ES modules.
const results = await Promise.all([
  build({
    ...common,
    entryPoints: entriesOf((name) => name !== 'index'),
    format: 'cjs',
    minifyWhitespace: true,
    outExtension: { '.js': '.cjs' },
    define: { 'import.meta.url': 'ownUrl', BUILD: JSON.stringify(hash), BUILT_ON: JSON.stringify(process.version) },
    banner: { js: `// ${hash}\nconst ownUrl = require('node:url').pathToFileURL(__filename).href;` },
  }),
  build({ ...common, entryPoints: entriesOf((name) => name === 'index'), format: 'esm', splitting: true, chunkNames: '[name]-[hash]' }),
]).catch((): never => process.exit(1)); // It has said why.
const outputFiles = results.flatMap((result) => result.outputFiles);
mkdirSync(dist, { recursive: true });
const isEntry = (path: string): boolean => entries.has(basename(path).replace(/\.c?js$/, ''));
for (const file of outputFiles.toSorted((a, b) => Number(isEntry(a.path)) - Number(isEntry(b.path)))) place(file.path, file.contents);
declarations();
removeOld(new Set(outputFiles.map((file) => basename(file.path))));
warmUp();
place(stampFile, hash);
