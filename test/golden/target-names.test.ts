// Target names against the code of Xen itself: its static library (libxen-dev), called from a small C program.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { parseTarget, targetName } from '../../src/core/target.ts';

const folder = mkdtempSync(join(tmpdir(), 'xvd-target-names-'));
const program = join(folder, 'xen-target-numbers');
after(() => rmSync(folder, { recursive: true, force: true }));

before(() => {
  // Static, and without the rest of the library: this one function needs nothing of what that links to.
  const options = ['-O1', '-static', '-Wl,--gc-sections', '-Wl,--unresolved-symbols=ignore-all', '-w'];
  const { status, stderr } = spawnSync('gcc', [...options, join(import.meta.dirname, 'xen-target-numbers.c'), '-lxenlight', '-o', program], {
    encoding: 'utf8',
  });
  assert.equal(status, 0, `gcc with libxen-dev: ${stderr}`);
});

function xenNumbers(names: readonly string[]): number[] {
  const { status, stdout } = spawnSync(program, { input: `${names.join('\n')}\n`, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  assert.equal(status, 0);
  return stdout.trimEnd().split('\n').map(Number);
}

function ourNumber(name: string): number | null {
  try {
    return parseTarget(name).vdev;
  } catch {
    return null;
  }
}

/** Xen's C also numbers `xvd`, `xvda+1`, `d1p2` and plain numbers; its tools take none of them for a target name. */
const isName = (text: string): boolean => /^(?:xvd|hd|sd)[a-z]+(?:[1-9]\d*)?$/.test(text);

function compare(names: readonly string[]): void {
  const numbers = xenNumbers(names);
  assert.equal(numbers.length, names.length);
  names.forEach((name, index) => {
    const xen = numbers[index] ?? -1;
    const expected = xen >= 0 && isName(name) ? xen : null;
    if (ourNumber(name) !== expected) assert.fail(`${JSON.stringify(name)}: Xen says ${xen}, we ${ourNumber(name)}`);
  });
}

test('every name up to xvdzz255 has the number that Xen gives it, and is found by it again', () => {
  const letters = Array.from({ length: 26 }, (_, index) => String.fromCharCode(97 + index));
  const drives = [...letters, ...letters.flatMap((first) => letters.map((second) => first + second))];
  const partitions = ['', ...Array.from({ length: 258 }, (_, index) => String(index))];
  const names = drives.flatMap((drive) => partitions.map((partition) => `xvd${drive}${partition}`));
  compare(names);
  for (const name of names) {
    const vdev = ourNumber(name);
    if (vdev !== null && targetName(vdev) !== `/dev/${name}`) assert.fail(`${name} is ${vdev}, which is ${targetName(vdev)}`);
  }
});

test('every name of hd and sd has the number that Xen gives it', () => {
  const drives = Array.from({ length: 26 }, (_, index) => String.fromCharCode(97 + index)).concat('aa', 'az');
  const partitions = ['', ...Array.from({ length: 80 }, (_, index) => String(index))];
  compare(['hd', 'sd'].flatMap((kind) => drives.flatMap((drive) => partitions.map((partition) => `${kind}${drive}${partition}`))));
});

test('10,000 strings that are nearly names: refused or numbered as Xen does', () => {
  const near = fc
    .tuple(
      fc.constantFrom('xvd', 'hd', 'sd', 'xv', 'd', ''),
      fc.stringMatching(/^[a-zA-Z]{0,6}$/),
      fc.stringMatching(/^[0-9]{0,4}$/),
      fc.constantFrom('', '', '', ' ', '-1', '+1', 'p1', 'x'),
    )
    .map((parts) => parts.join(''));
  const any = fc.string({ maxLength: 12, unit: fc.constantFrom(...'xvdhsabz0159 +-_./:pA') });
  compare(fc.sample(fc.oneof({ arbitrary: near, weight: 3 }, any), 10_000).filter((name) => !name.startsWith('/dev/')));
});
