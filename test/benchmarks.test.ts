// The page of benchmarks is what is kept of their runs, and says whether each goal was met.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { isMet, median, pageOf, quantile } from '../bench/report.ts';
import type { Kept } from '../bench/report.ts';

const root = resolve(import.meta.dirname, '..');

test('docs/benchmarks.md is what bench/report.ts writes from the kept results', () => {
  const results = join(root, 'bench/results');
  const kept = readdirSync(results).filter((file) => file.endsWith('.json'));
  const page = pageOf(kept.map((file) => JSON.parse(readFileSync(join(results, file), 'utf8')) as Kept));
  assert.equal(readFileSync(join(root, 'docs/benchmarks.md'), 'utf8'), page, 'run node bench/report.ts');
});

test('a goal that is missed is told on the page', () => {
  const machine = { processor: 'P', cores: 2, memoryGib: 4, kernel: '6', node: '26' };
  const goals = [
    { name: 'ours / theirs', value: 2.004, atMost: 2 },
    { name: 'theirs / ours', value: 3, atLeast: 2 },
  ];
  assert.deepEqual(goals.map(isMet), [false, true]);
  const one: Kept = { name: 'a', title: 'A', about: 'B.', tables: [], goals, machine, commit: 'c', time: '2026-01-01T00:00:00.000Z', load: 0 };
  assert.match(pageOf([one]), /\| ours \/ theirs \| 2.00 \| ≤ 2 \| \*\*no\*\* \|\n\| theirs \/ ours \| 3 \| ≥ 2 \| yes \|/);
});

test('median() and quantile() take the figures in any order', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(quantile([5, 4, 3, 2, 1], 0.99), 5);
});
