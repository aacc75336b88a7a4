// What the tests with real guests share: running programs, a leased disk with a guest's root filesystem, and the same with Debian's
// fio and its libraries in it.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { countersOf } from '../../src/datapath/nbd/counters.ts';
import type { Counted } from '../../src/datapath/nbd/counters.ts';
import type { BuiltXvd } from './built-xvd.ts';

export type Vbd = { readonly uri: string; readonly target: string; readonly generation: number; readonly state: string };

export async function must(program: string, ...words: readonly string[]): Promise<string> {
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` } });
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => void (said += chunk.toString()));
  assert.deepEqual(await once(child, 'close'), [0, null], `${program} ${words.join(' ')}`);
  return said;
}

/** A disk whose content is the guest's root filesystem, written over NBD. */
export async function makeRootDisk(xvd: BuiltXvd, rootTree: string, size = '48M'): Promise<void> {
  await xvd.json('create', size, '--name', 'web', '--expires', '1h');
  const image = join(xvd.folder, 'root.img');
  await must('mke2fs', '-q', '-t', 'ext4', '-d', rootTree, image, size);
  const { uri } = await xvd.json<Vbd>('attach', 'vd:web', 'xvda', 'filler', 'w', '--driver', 'nbd');
  await must('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', image, uri);
  await xvd.json('detach', 'xvda', 'filler');
  rmSync(image);
}

/** The guest's tree with fio in it, some 85 MB. */
export function treeWithFio(xvd: BuiltXvd, rootTree: string): string {
  const tree = join(xvd.folder, 'tree');
  cpSync(rootTree, tree, { recursive: true, verbatimSymlinks: true });
  const needed = execFileSync('ldd', ['/usr/bin/fio'], { encoding: 'utf8' }).matchAll(/(?:=> |^\s*)(\/\S+)/gm);
  for (const path of ['/usr/bin/fio', ...[...needed].map(([, file = '']) => file)]) {
    mkdirSync(join(tree, dirname(path)), { recursive: true });
    copyFileSync(path, join(tree, path));
  }
  return tree;
}

/** What a disk holds, byte for byte. */
export async function contentOf(xvd: BuiltXvd, disk: string): Promise<Buffer> {
  const { uri, target } = await xvd.json<Vbd>('attach', disk, 'xvdz', 'reader', 'r', '--driver', 'nbd');
  const image = join(xvd.folder, 'content.img');
  await must('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', '-S', '0', uri, image);
  await xvd.json('detach', target, 'reader');
  return readFileSync(image);
}

/** The processes that serve it now. */
export const processesOf = (xvd: BuiltXvd, generation: number): number[] =>
  readdirSync(join(xvd.folder, 'run', 'vbd', String(generation), 'processes'))
    .map((name) => Number(/^\d+/.exec(name)?.[0]))
    .filter((pid) => pid > 0);

/** What the connection processes of a VBD have counted, without asking the daemon. */
export const countersIn = (xvd: BuiltXvd, generation: number): Counted =>
  countersOf(new Uint8Array(readFileSync(join(xvd.folder, 'run', 'vbd', String(generation), 'counters'))));
