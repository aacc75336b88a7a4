// The picture of the pool: every width, with and without colours.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';

import fc from 'fast-check';

import type { DeviceMapInfo, MapKind, MapRun } from '../app/pool-map.ts';
import { drawMap } from './map-view.ts';

const run = (firstExtent: number, extents: number, kind: MapKind, id: number | null = null, clean = false): MapRun => ({
  firstExtent,
  extents,
  kind,
  disk: id === null ? null : `vd:${id}`,
  name: id === 1 ? 'web' : null,
  clean,
});
const device = (runs: readonly MapRun[]): DeviceMapInfo => ({
  device: '/dev/sda',
  pool: 'default',
  extentBytes: 1048576,
  extents: runs.reduce((sum, each) => sum + each.extents, 0),
  runs,
});
const plain = (text: string): string => stripVTControlCharacters(text);

const pool = device([
  run(0, 3, 'living', 1),
  run(3, 2, 'expired', 7),
  run(5, 1, 'reclaimed', 4),
  run(6, 1, 'preparing', 8),
  run(7, 1, 'bad'),
  run(8, 1, 'reserved', 9),
  run(9, 4, 'unused', null, true),
  run(13, 2, 'unused'),
]);

test('each extent is a cell when there is room', () => {
  assert.equal(
    drawMap([pool], { width: 72, colours: false }),
    [
      '/dev/sda  pool default  15 MiB  a cell is one extent of 1 MiB',
      'AAAbb~+!%....::',
      '',
      'A vd:1 web   b vd:7 (expired, whole)   ~ left of a reclaimed disk',
      '+ being prepared   ! bad   % expired, but still in reach',
      '. never used, wiped   : never used, not wiped',
      '',
    ].join('\n'),
  );
});

test('a narrow picture wraps, a large pool is summed up, and what is bad is seen however small', () => {
  assert.deepEqual(drawMap([pool], { width: 10, colours: false }).split('\n').slice(0, 7), [
    '/dev/sda',
    'pool defa…',
    '15 MiB',
    'a cell is…',
    'AAAbb~+!%.',
    '...::',
    '',
  ]);
  assert.deepEqual(drawMap([pool], { width: 40, colours: false }).split('\n').slice(0, 3), [
    '/dev/sda  pool default  15 MiB',
    'a cell is one extent of 1 MiB',
    'AAAbb~+!%....::',
  ]);
  const large = device([run(0, 999_999, 'living', 1), run(999_999, 1, 'bad'), run(1_000_000, 1_000_000, 'unused')]);
  const [, , ...lines] = drawMap([large], { width: 40, colours: false }).split('\n').slice(0, 10);
  assert.deepEqual([...new Set(lines.slice(0, 3))], ['A'.repeat(40)]);
  assert.equal(lines[3], `${'A'.repeat(39)}!`);
  assert.deepEqual([...new Set(lines.slice(4))], [':'.repeat(40)]);
});

test('colours change nothing but colours; no line is wider than the terminal', () => {
  const kinds: readonly MapKind[] = ['living', 'expired', 'reclaimed', 'preparing', 'reserved', 'unused', 'bad'];
  const runs = fc.array(
    fc.record({ extents: fc.integer({ min: 1, max: 90 }), kind: fc.constantFrom(...kinds), id: fc.integer({ min: 1, max: 60 }), clean: fc.boolean() }),
    { minLength: 1, maxLength: 30 },
  );
  fc.assert(
    fc.property(runs, fc.integer({ min: 10, max: 300 }), (list, width) => {
      let next = 0;
      const made = device(
        list.map(({ extents, kind, id, clean }) => run((next += extents) - extents, extents, kind, kind === 'unused' || kind === 'bad' ? null : id, clean)),
      );
      const text = drawMap([made], { width, colours: false });
      assert.equal(plain(drawMap([made], { width, colours: true })), text);
      for (const line of text.split('\n')) assert.ok(line.length <= width, line);
      const picture = text.split('\n\n')[0]?.split('\n') ?? [];
      const cells = Math.min(next, width * 8);
      assert.equal(picture.slice(-Math.ceil(cells / width)).join('').length, cells);
    }),
  );
});

test('an empty pool says what to do', () => {
  assert.match(drawMap([], { width: 80, colours: true }), /xvd format/);
});
