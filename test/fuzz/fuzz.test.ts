// One minute of the fuzzer: half of it from a seed that is always the same, half from a fresh one that is printed.

import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { fuzz, lineOf, readCorpus } from './fuzz.ts';
import type { Fuzzed } from './fuzz.ts';

const seconds = Number(process.env['XVD_FUZZ_SECONDS'] ?? 60) / 2;
const corpus = readCorpus(`${import.meta.dirname}/corpus.jsonl`);

function holds(t: TestContext, { cases, features, failure }: Fuzzed): void {
  t.diagnostic(`${cases} cases, ${features} features`);
  assert.equal(failure, null, failure === null ? '' : `${failure.error.stack}\nthe case: ${lineOf(failure.case)}`);
  assert.ok(cases > corpus.length && features > 250, 'it went deep enough to mean something');
}

test('mutated handshakes and requests are answered as the protocol says: a fixed seed, and all that was found before', (t) => {
  holds(t, fuzz(1, seconds * 1000, corpus));
});

test('mutated handshakes and requests are answered as the protocol says: a fresh seed', (t) => {
  const seed = randomInt(2 ** 32);
  t.diagnostic(`seed ${seed}`);
  holds(t, fuzz(seed, seconds * 1000, []));
});
