// Names and numbers of targets, held against Xen's own: libxenlight numbers names, libxlutil reads disk specifications.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import fc from 'fast-check';

import { XvdError } from '../base/error.ts';
import { parseTarget, targetName } from './target.ts';

/** null = refused, with the code for a malformed value. */
function numberOf(name: string): number | null {
  try {
    return parseTarget(name).vdev;
  } catch (error) {
    assert.ok(error instanceof XvdError && error.code === 'VALUE_INVALID', String(error));
    return null;
  }
}

test("parseTarget() has Xen's numbers", () => {
  const known = { xvda: 51712, xvdb1: 51729, xvdp15: 51967, xvda16: 268435472, xvdq: 268439552, xvdaa: 268442112, hda: 768, hdb: 832, hdc: 5632, sda: 2048, sdp15: 2303 };
  for (const [name, vdev] of Object.entries(known)) {
    assert.deepEqual(parseTarget(name), { target: `/dev/${name}`, vdev });
    assert.deepEqual(parseTarget(`/dev/${name}`), { target: `/dev/${name}`, vdev });
  }
});

test('parseTarget() refuses what is no target', () => {
  const wrong = ['hde', 'sdq', 'xvda0', 'xvda01', 'xvdaa256', 'xvdA', '', 'xvd', 'hd', 'sd1', 'xvd1', 'hda64', 'sda16', '/dev/', '/dev/sda/', 'dev/sda', '/dev//dev/sda', 'xvda 1', 'xvda+1', ' xvda', 'xvda\n', 'xvda\0', '../xvda', '51712', '0xca00', 'd0p0', 'vda', 'xvdа', 'x'.repeat(5000), `xvd${'z'.repeat(5000)}`];
  for (const name of wrong) assert.equal(numberOf(name), null, JSON.stringify(name));
});

test('targetName() is the way back', () => {
  const letters = fc.array(fc.constantFrom(...'abcdefghijklmnopqrstuvwxyz'.split('')), { minLength: 1, maxLength: 4 }).map((list) => list.join(''));
  fc.assert(
    fc.property(fc.constantFrom('xvd', 'hd', 'sd'), letters, fc.integer({ min: 0, max: 260 }), (kind, drive, partition) => {
      const name = `${kind}${drive}${partition === 0 ? '' : partition}`;
      const vdev = numberOf(name);
      if (vdev !== null) assert.equal(targetName(vdev), `/dev/${name}`);
    }),
  );
});

/** Reads a name a line; says its number (-1 = none) and whether a disk specification with it is read as that target. */
const ASK_XEN = `
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libxl.h>
#include <libxlutil.h>
int libxl__device_disk_dev_number(const char *name, int *disk, int *partition);
int main(void) {
  char *line = NULL;
  size_t room = 0;
  ssize_t length;
  XLU_Config *config = xlu_cfg_init(fopen("/dev/null", "w"), "names");
  while ((length = getline(&line, &room, stdin)) > 0) {
    line[length - 1] = 0;
    char *specification = malloc(length + 32);
    sprintf(specification, "phy:/dev/null,%s,w", line);
    libxl_device_disk disk;
    libxl_device_disk_init(&disk);
    const char *specifications[1] = {specification};
    int refused = xlu_disk_parse(config, 1, specifications, &disk);
    printf("%d %d\\n", libxl__device_disk_dev_number(line, NULL, NULL), !refused && disk.vdev && !strcmp(disk.vdev, line));
    free(specification);
  }
  return 0;
}
`;

/** What Xen makes of each name: its number, or null when the numbering or the reader of specifications refuses it. */
function askXen(names: readonly string[]): { number: number | null; read: boolean }[] {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-xen-'));
  try {
    writeFileSync(join(folder, 'ask.c'), ASK_XEN);
    // Only two functions are called: what the rest of the library would need is left unresolved.
    const link = ['-no-pie', '-Wl,--unresolved-symbols=ignore-all', '-Wl,-Bstatic', '-lxlutil', '-lxenlight', '-Wl,-Bdynamic'];
    execFileSync('gcc', ['-o', join(folder, 'ask'), join(folder, 'ask.c'), ...link], { stdio: 'pipe', timeout: 60_000 });
    const answers = execFileSync(join(folder, 'ask'), { input: names.map((name) => `${name}\n`).join(''), maxBuffer: 2 ** 26, timeout: 60_000, encoding: 'latin1' });
    const lines = answers.trimEnd().split('\n');
    assert.equal(lines.length, names.length);
    return lines.map((line) => {
      const [number, read] = line.split(' ').map(Number);
      return { number: number === undefined || number < 0 ? null : number, read: read === 1 };
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test('every name up to xvdzz255, and of hd and sd, has the number that Xen gives it, or is refused by both', () => {
  const alphabet = 'abcdefghijklmnopqrstuvwxyz'.split('');
  const drives = [...alphabet, ...alphabet.flatMap((first) => alphabet.map((second) => first + second))];
  const names = ['xvd', 'hd', 'sd'].flatMap((kind) => (kind === 'xvd' ? drives : drives.slice(0, 52)).flatMap((drive) => ['', ...Array.from({ length: 258 }, (_, partition) => partition)].map((partition) => `${kind}${drive}${partition}`)));
  const xen = askXen(names);
  const differ = names.filter((name, index) => numberOf(name) !== (xen[index]?.read === true ? xen[index].number : null));
  assert.deepEqual(differ, []);
});

test('10,000 random strings: what is taken has the number of Xen; a name that Xen numbers but its own tools refuse is refused', () => {
  const piece = fc.constantFrom('xvd', 'hd', 'sd', 'a', 'b', 'p', 'z', 'aa', 'A', '0', '1', '15', '16', '63', '64', '255', '256', '/dev/', 'd', ' ', '+', '-', '.', ':', '=', '%d', '0x', '4294967297');
  const letters = fc.stringMatching(/^(xvd|hd|sd)[a-z]{0,5}[0-9]{0,4}$/);
  const some = fc.oneof(fc.array(piece, { minLength: 1, maxLength: 6 }).map((parts) => parts.join('')), letters, fc.string({ minLength: 1, maxLength: 8 }));
  const names = fc.sample(some, { numRuns: 10_000, seed: 20_040_123 }).filter((name) => /^[\x20-\x7e]+$/.test(name) && !name.startsWith('/dev/'));
  const xen = askXen(names);
  // Xen's scanner takes these spellings too; they are numbers and not names, or the C library's way of reading numbers.
  const spelling = /^\s*[+-]?(\d+|0x[\da-f]+)$|^d\s*[-+]?\w+p\s*[-+]?\w+$|^(xvd|hd|sd)[a-z]*\s*[-+]\d+$|^(xvd|hd|sd)[a-z]*\s+\d+$|^(xvd|hd|sd)\d*$|^(xvd|hd|sd)[a-z]*\d{10,}$/i;
  for (const [index, name] of names.entries()) {
    const answer = xen[index];
    const mine = numberOf(name);
    if (mine !== null) assert.deepEqual(answer, { number: mine, read: true }, JSON.stringify(name));
    else assert.ok(answer?.number === null || answer?.read === false || spelling.test(name), `Xen takes ${JSON.stringify(name)} as ${answer?.number}`);
  }
});
