// The fuzzer of the NBD data path: cases are made and bent, those that reach something new are kept and bent further, and the
// first one that breaks a promise ends the run with all that is needed to see it again.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { seeded } from '../crash/killing.ts';
import { openCoverage } from './coverage.ts';
import { openRig, runCase } from './run-case.ts';
import { freshCase, mutated } from './session-input.ts';
import type { Case } from './session-input.ts';

export type Fuzzed = {
  readonly cases: number;
  readonly features: number;
  readonly kept: readonly Case[];
  readonly failure: { readonly error: Error; readonly case: Case } | null;
};

const GROUP = 32;

type Stored = Omit<Case, 'parts' | 'streamFrom'> & { readonly parts: readonly string[]; readonly streamFrom: number | null };

/** One line: what a corpus file and the message of a failure hold. */
export function lineOf({ parts, streamFrom, ...rest }: Case): string {
  const stored: Stored = {
    ...rest,
    streamFrom: streamFrom === Infinity ? null : streamFrom,
    parts: parts.map((part) => deflateRawSync(part).toString('base64')),
  };
  return JSON.stringify(stored);
}

export function caseOf(line: string): Case {
  const { parts, streamFrom, ...rest } = JSON.parse(line) as Stored;
  return { ...rest, streamFrom: streamFrom ?? Infinity, parts: parts.map((part) => inflateRawSync(Buffer.from(part, 'base64'))) };
}

export const readCorpus = (path: string): Case[] => (existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n').map(caseOf) : []);

/** Until the time is over or a case fails; `corpus` is run first. */
export function fuzz(seed: number, milliseconds: number, corpus: readonly Case[]): Fuzzed {
  const draw = seeded(seed);
  using rig = openRig();
  using coverage = openCoverage(/\/src\/(datapath\/nbd|core)\//);
  const kept: Case[] = [];
  const end = performance.now() + milliseconds;
  let cases = 0;
  const next = (): Case => {
    const waiting = corpus[cases];
    if (waiting !== undefined) return waiting;
    const [base, other] = [kept[draw(kept.length)], kept[draw(kept.length)]];
    return base === undefined || other === undefined || draw(5) === 0 ? freshCase(draw) : mutated(draw, base, other);
  };
  while (cases < corpus.length || performance.now() < end) {
    // Looking at the coverage costs more than a case: many are looked at together, and again one by one when there is news.
    const group: Case[] = [];
    for (let left = GROUP; left > 0; left -= 1) {
      const one = next();
      cases += 1;
      try {
        runCase(rig, one);
      } catch (error) {
        return { cases, features: coverage.known(), kept, failure: { error: error as Error, case: one } };
      }
      group.push(one);
    }
    if (!coverage.isNew()) continue;
    for (const one of group) {
      runCase(rig, one);
      if (coverage.remember()) kept.push(one);
    }
  }
  return { cases, features: coverage.known(), kept, failure: null };
}

/** `make fuzz`: XVD_FUZZ_SECONDS from a fresh seed, or XVD_FUZZ_SEED; the corpus grows by what was found. */
export function main(corpusPath: string): void {
  const seed = Number(process.env['XVD_FUZZ_SEED'] ?? process.hrtime.bigint() % 4_294_967_296n);
  const corpus = readCorpus(corpusPath);
  process.stdout.write(`seed ${seed}, ${corpus.length} cases kept before\n`);
  const { cases, features, kept, failure } = fuzz(seed, 1000 * Number(process.env['XVD_FUZZ_SECONDS'] ?? 600), corpus);
  process.stdout.write(`${cases} cases, ${features} features, ${kept.length} kept\n`);
  if (failure !== null) {
    process.stdout.write(`${failure.error.stack}\n${lineOf(failure.case)}\n`);
    process.exitCode = 1;
    return;
  }
  const small = kept.filter(({ parts }) => parts.reduce((sum, part) => sum + part.length, 0) < 200_000);
  writeFileSync(corpusPath, `${small.slice(0, 400).map(lineOf).join('\n')}\n`);
}

if (import.meta.main) main(process.argv[2] ?? `${import.meta.dirname}/corpus.jsonl`);
