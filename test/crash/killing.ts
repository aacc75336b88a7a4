// Kills a command at a moment drawn from the time that commands of its kind usually take.

import assert from 'node:assert/strict';

import type { Command, Draw } from './commands.ts';
import type { Ended, World } from './world.ts';

const TENTHS = 10;

/** Of one kind of command: how long it takes, and what the kills hit. */
export type Tally = { readonly ms: number[]; kills: number; ended: number; afterCommit: number; readonly tenths: number[] };
export type Tallies = Map<string, Tally>;

/** Numerical Recipes' linear congruence, its high bits. */
export function seeded(seed: number): Draw {
  let state = seed >>> 0;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

/** The first of its kind is left to end, and shows how long it takes. */
export async function killDuring(world: World, { kind, words }: Command, draw: Draw, tallies: Tallies): Promise<Ended> {
  const tally = tallies.get(kind) ?? { ms: [], kills: 0, ended: 0, afterCommit: 0, tenths: Array.from({ length: TENTHS }, () => 0) };
  tallies.set(kind, tally);
  const usual = tally.ms.toSorted((a, b) => a - b)[tally.ms.length >> 1];
  const part = draw(1_000_000) / 1_000_000;
  const ended = await world.run(words, usual === undefined ? undefined : usual * 1.05 * part);
  if (!ended.killed) tally.ms.push(ended.ms);
  if (usual === undefined) return ended;
  tally.kills += ended.killed ? 1 : 0;
  tally.ended += ended.killed ? 0 : 1;
  const tenth = Math.floor(part * TENTHS);
  if (ended.killed) tally.tenths[tenth] = (tally.tenths[tenth] ?? 0) + 1;
  return ended;
}

/** `xvd WORDS`, which must end with one of these statuses. */
export async function mustRun(world: World, words: readonly string[], statuses: readonly number[], when: string): Promise<Ended> {
  const ended = await world.run(words);
  assert.ok(ended.status !== null && statuses.includes(ended.status), `${when}, then xvd ${words.join(' ')}: ${ended.status} ${ended.out}${ended.err}`);
  return ended;
}

export function linesOf(tallies: Tallies): string[] {
  return [...tallies].map(
    ([kind, { ms, kills, ended, afterCommit, tenths }]) =>
      `${kind}: ${kills} killed (${afterCommit} after a commit), ${ended} had ended; took ${Math.round(ms[0] ?? 0)} ms; by tenths of its life ${tenths.join(' ')}`,
  );
}
