// Random histories of the whole product: users, guests and time take steps, often two at once, while calls fail and processes
// die or stop at any of their calls. After every step, and after every commit within one, I1 to I4 hold; at the end nothing is
// left over.

import fc from 'fast-check';
import type { Mutant } from './chaos-world.ts';
import { mutants } from './mutants.ts';
import { seededChance } from './seeded-chance.ts';
import { Scene } from './scene.ts';
import { fated, kinds, take } from './steps.ts';
import type { Kind, Step } from './steps.ts';
import type { Fate } from './process.ts';

type Turn = { readonly step: Step; readonly fate: Fate | null; readonly also: Step | null };

const weights: Partial<Record<Kind, number>> = {
  ...{ create: 16, attach: 24, write: 16, leases: 8, detach: 12, restore: 4, remove: 6, daemonStarts: 4, wake: 4, outsider: 4 },
  ...{ hostCrashes: 1, unformat: 1, lands: 1, format: 3, domainStop: 4 },
};
const kindOf = (among: readonly Kind[]): fc.Arbitrary<Kind> => fc.oneof(...among.map((kind) => ({ weight: weights[kind] ?? 2, arbitrary: fc.constant(kind) })));
const stepOf = (among: readonly Kind[]): fc.Arbitrary<Step> => fc.record({ kind: kindOf(among), a: fc.nat(100_000), b: fc.nat(100_000) });
const fate: fc.Arbitrary<Fate> = fc.record({
  at: fc.integer({ min: 1, max: 40 }),
  what: fc.constantFrom('kill' as const, 'fail' as const, 'fail' as const, 'stop' as const),
  after: fc.boolean(),
});
const turn: fc.Arbitrary<Turn> = fc.record({
  step: stepOf(kinds),
  fate: fc.option(fate, { freq: 3 }),
  also: fc.option(stepOf(fated.filter((kind) => kind !== 'daemonStarts')), { freq: 2 }),
});

const LONGEST = 60;
const history = fc.tuple(fc.nat(2 ** 31 - 1), fc.array(turn, { minLength: 1, maxLength: LONGEST, size: 'max' }));

/** How often what happened: `attach done`, `vbd.revoked` … */
export type Seen = ReadonlyMap<string, number>;
const count = (seen: Map<string, number>, what: string): unknown => seen.set(what, (seen.get(what) ?? 0) + 1);

async function live(chance: number, turns: readonly Turn[], mutant: Mutant, seen: Map<string, number>): Promise<void> {
  const scene = await Scene.open(seededChance(chance), mutant);
  let events = 0;
  const go = async (step: Step, bad: Fate | null): Promise<unknown> => {
    count(seen, 'steps');
    return count(seen, `${step.kind} ${(await take(scene, step, bad)) ?? 'done'}`);
  };
  for (const { step, fate: bad, also } of turns) {
    await Promise.all([go(step, bad), also === null ? null : go(also, null)]);
    await scene.judge();
    for (const { id, type } of await scene.world.catalog.read((reader) => reader.events(events, 1000))) {
      events = id;
      count(seen, type);
    }
  }
  await scene.end();
}

/** One step a line. */
function report(found: [number, readonly Turn[]] | undefined): string {
  const line = ({ step, fate: bad, also }: Turn): string => JSON.stringify([step, bad, also]).replaceAll(/"|kind:/g, '');
  return found === undefined ? 'interrupted' : `chance ${found[0]}\n${found[1].map(line).join('\n')}`;
}

/** As many histories as make up so many steps. */
export async function histories(steps: number, options: { readonly mutant?: string; readonly seed?: number; readonly shrink?: boolean } = {}): Promise<Seen> {
  const seen = new Map<string, number>();
  const mutant = mutants[options.mutant ?? ''] ?? {};
  const property = fc.asyncProperty(history, async ([chance, turns]) => {
    if ((seen.get('steps') ?? 0) < steps) await live(chance, turns, mutant, seen);
  });
  await fc.assert(property, {
    numRuns: Math.max(20, steps),
    reporter: (run) => {
      if (run.failed) throw new Error(`seed ${run.seed}: ${report(run.counterexample?.[0])}`, { cause: run.errorInstance });
    },
    endOnFailure: options.shrink === false,
    ...(options.seed === undefined ? {} : { seed: options.seed }),
  });
  return seen;
}
