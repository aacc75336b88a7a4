// The package as its users get it: packed, put into a project elsewhere, imported, and compiled against its declarations. Every
// command has its function there.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync, cpSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { commands } from '../../src/cli/commands.ts';
import { builtXvd } from './built-xvd.ts';

const root = resolve(import.meta.dirname, '../..');

/** By command: functions of the package, or (with a dot) of an opened xvd. */
const functions: Readonly<Record<string, readonly string[]>> = {
  format: ['xvd.formatDevice'],
  unformat: ['xvd.unformatDevice'],
  adopt: ['xvd.adoptDevice'],
  devices: ['xvd.listDevices'],
  create: ['xvd.createDisk'],
  refresh: ['xvd.refreshDisk'],
  delete: ['xvd.deleteDisk'],
  restore: ['xvd.restoreDisk'],
  list: ['xvd.listDisks'],
  show: ['xvd.showDisk'],
  extents: ['xvd.extentsOf'],
  map: ['xvd.poolMap'],
  attach: ['xvd.attach', 'xvd.checkSharing'],
  detach: ['xvd.detach'],
  vbds: ['xvd.vbds'],
  import: ['xvd.importImage', 'xvd.copies'],
  export: ['xvd.exportImage'],
  'domain start': ['xvd.startDomain', 'defineDomain'],
  'domain stop': ['xvd.stopDomain'],
  'domain list': ['xvd.listDomains'],
  'domain autostart': ['xvd.autostartDomain', 'xvd.stopAutostart'],
  'domain console': ['xvd.consoleOf'],
  serve: ['serve'],
  check: ['xvd.checkPool'],
  backup: ['xvd.backupCatalog'],
  recover: ['xvd.recoverCatalog', 'recoverCatalog'],
  'import-legacy': ['xvd.importLegacy'],
  events: ['xvd.events', 'xvd.followEvents'],
  // The text for a shell, and nothing that a program would do.
  completion: [],
};

/** A project with the packed package and what it depends on; nothing is fetched. */
function project(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-package-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const packed = spawnSync('npm', ['pack', '--json', '--ignore-scripts', '--offline', '--pack-destination', folder], { cwd: root, encoding: 'utf8' });
  assert.equal(packed.status, 0, packed.stderr);
  const modules = join(folder, 'node_modules');
  mkdirSync(modules);
  const unpacked = spawnSync('tar', ['xzf', 'xvd-0.1.0.tgz'], { cwd: folder, encoding: 'utf8' });
  assert.equal(unpacked.status, 0, unpacked.stderr);
  cpSync(join(folder, 'package'), join(modules, 'xvd'), { recursive: true });
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, object>;
  const needed = [...Object.keys({ ...dependencies, ...optionalDependencies }), '@types/node'];
  for (const name of needed) {
    mkdirSync(resolve(modules, name, '..'), { recursive: true });
    symlinkSync(join(root, 'node_modules', name), join(modules, name));
  }
  writeFileSync(join(folder, 'package.json'), '{"type": "module"}');
  return folder;
}

const runIn = (folder: string, file: string, environment: Readonly<Record<string, string>>, ...words: readonly string[]) =>
  spawnSync(process.execPath, [file, ...words], { cwd: folder, env: environment, encoding: 'utf8' });

test('every command has its function in the packed package; its example compiles against the declarations and runs, elsewhere', (t) => {
  const xvd = builtXvd(t);
  const folder = project(t);
  assert.deepEqual(Object.keys(functions).toSorted(), commands.map(({ name }) => name).toSorted());
  const wanted = Object.values(functions).flat();
  writeFileSync(
    join(folder, 'every.js'),
    `import * as all from 'xvd';
await using xvd = await all.openXvd();
const functions = { ...all, ...Object.fromEntries(Object.entries(xvd).map(([name, value]) => ['xvd.' + name, value])) };
console.log(JSON.stringify(Object.keys(functions).filter((name) => typeof functions[name] === 'function')));
`,
  );
  const every = runIn(folder, 'every.js', xvd.environment);
  assert.equal(every.status, 0, every.stderr);
  const there = JSON.parse(every.stdout) as string[];
  assert.deepEqual(
    wanted.filter((name) => !there.includes(name)),
    [],
    'functions that are missing',
  );
  assert.deepEqual(
    there.filter((name) => name.startsWith('xvd.') && !wanted.includes(name)),
    [],
    'functions of no command',
  );
  cpSync(join(root, 'examples/lease.ts'), join(folder, 'lease.ts'));
  const methods = JSON.stringify(wanted.filter((name) => name.startsWith('xvd.')).map((name) => name.slice(4)));
  const types = [
    "import type { Xvd } from 'xvd';",
    `export const names: readonly (keyof Xvd)[] = ${methods};`,
    '// @ts-expect-error bytes are a number',
    "export const wrong: Parameters<Xvd['createDisk']>[0] = { sizeBytes: '1M' };",
  ];
  writeFileSync(join(folder, 'types.ts'), types.join('\n'));
  const settings = { strict: true, noEmit: true, module: 'nodenext', target: 'esnext', lib: ['esnext'], types: ['node'], skipLibCheck: false };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: settings, files: ['lease.ts', 'types.ts'] }));
  const compiled = spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', folder], { encoding: 'utf8' });
  assert.deepEqual([compiled.status, compiled.stdout], [0, '']);
  const example = runIn(folder, 'lease.ts', xvd.environment, xvd.pool);
  assert.match(example.stdout, /^restored: live, 0 bytes lost$/m, example.stderr);
});

test('the packed command runs on the Node that comes with it, through the link that npm makes', (t) => {
  const xvd = builtXvd(t);
  const folder = project(t);
  const link = join(folder, 'node_modules/.bin/xvd');
  mkdirSync(resolve(link, '..'));
  symlinkSync('../xvd/bin/xvd', link);
  assert.equal(readlinkSync(link), '../xvd/bin/xvd');
  const ran = spawnSync(link, ['list', '--json'], { env: { ...xvd.environment, PATH: '/usr/bin:/bin' }, encoding: 'utf8' });
  assert.deepEqual([ran.status, ran.stdout], [0, '[]\n'], ran.stderr);
});

test('the daemon of the package: it serves, followEvents tells what happens, and both end with their signals', (t) => {
  const xvd = builtXvd(t);
  writeFileSync(
    join(xvd.folder, 'serve.mts'),
    `import { openXvd, serve } from ${JSON.stringify(join(root, 'dist/index.js'))};
const ends = new AbortController();
const ready = Promise.withResolvers();
const served = serve({}, { signal: ends.signal, ready: ready.resolve });
await Promise.race([ready.promise, served]);
{
  await using xvd = await openXvd();
  await xvd.formatDevice({ device: ${JSON.stringify(xvd.pool)} });
  const made = xvd.createDisk({ sizeBytes: 2 ** 20 });
  for await (const { type } of xvd.followEvents()) if (type === 'disk.created') break;
  await made;
  const { uri } = await xvd.attach({ source: 'vd:1', target: 'xvda', domain: 'web', mode: 'w', driver: 'nbd' });
  console.log(uri.startsWith('nbd+unix:'));
  await xvd.detach({ target: 'xvda', domain: 'web' });
  const stop = new AbortController();
  for await (const _ of xvd.followEvents({ signal: stop.signal })) stop.abort();
}
ends.abort();
await served;
console.log('ended');
`,
  );
  const ran = runIn(xvd.folder, 'serve.mts', xvd.environment);
  assert.deepEqual([ran.status, ran.stdout], [0, 'true\nended\n'], ran.stderr);
});
