// Random histories of the whole product: users, guests and time take steps, often two at once, while calls fail and processes
// die or stop at any of their calls. After every step, and after every commit within one, I1 to I4 hold; at the end nothing is
// left over. `XVD_SIM_STEPS=100000` makes it long; `XVD_SIM_SEED` repeats one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Catalog } from '../../src/catalog/catalog.ts';
import type { Mutant } from './chaos-world.ts';
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
type Seen = Map<string, number>;
const count = (seen: Seen, what: string): unknown => seen.set(what, (seen.get(what) ?? 0) + 1);

async function live(chance: number, turns: readonly Turn[], mutant: Mutant, seen: Seen): Promise<void> {
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
async function histories(steps: number, options: { readonly mutant?: Mutant; readonly seed?: number; readonly shrink?: boolean } = {}): Promise<Seen> {
  const seen: Seen = new Map();
  const property = fc.asyncProperty(history, async ([chance, turns]) => {
    if ((seen.get('steps') ?? 0) < steps) await live(chance, turns, options.mutant ?? {}, seen);
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

const wanted = Number(process.env['XVD_SIM_STEPS'] ?? 2000);
const seed = process.env['XVD_SIM_SEED'];

test(`I1 to I4 hold over ${wanted} random steps, whatever fails or dies`, async (t) => {
  const seen = await histories(wanted, seed === undefined ? {} : { seed: Number(seed) });
  const told = [...seen].toSorted(([one], [other]) => (one < other ? -1 : 1));
  t.diagnostic(told.map(([what, times]) => `${what} ${times}`).join(', '));
  assert.ok((seen.get('steps') ?? 0) >= wanted);
});

test('the histories reach what they are about: reclaiming, revoking, restoring, refusals, deaths and waking up', async () => {
  const seen = await histories(2000, { seed: 1 });
  const events = [
    'disk.reclaimed',
    'disk.restored',
    'disk.expired',
    'vbd.attached',
    'vbd.revoked',
    'vbd.detached',
    'vbd.reserved',
    'wiper.ended',
    'domain.started',
  ];
  const ends = ['attach done', 'attach refused', 'attach died', 'detach died', 'leases died', 'daemonStarts died', 'create died', 'create stopped'];
  for (const what of [...events, ...ends]) assert.ok((seen.get(what) ?? 0) > 0, what);
});

const mutants: Readonly<Record<string, Mutant>> = {
  'extents are free before the fence': {
    catalog: (catalog) => ({
      ...passing(catalog),
      write: (body) =>
        catalog.write((writer) =>
          body({
            ...writer,
            nextReclaimable: async (pool, blockBytes, now) => {
              for (const disk of await writer.disks({ which: 'expired', now })) if (disk.pool === pool && (await writer.runs(disk.id)).length > 0) return disk;
              return writer.nextReclaimable(pool, blockBytes, now);
            },
          }),
        ),
    }),
  },
  'sharing is checked before the transaction': {
    catalog: (catalog) => ({
      ...passing(catalog),
      write: async (body) => {
        const rows = await catalog.read((reader) => reader.vbds());
        return catalog.write((writer) => body({ ...writer, vbds: async (filter) => rows.filter(({ domain }) => (filter?.domain ?? domain) === domain) }));
      },
    }),
  },
  'a data path is closed when it is told to, not when it is proved gone': {
    dataPath: (dataPath) => ({ ...dataPath, close: (generation) => dataPath.close(generation).catch(() => undefined) }),
  },
  'a fence leaves pages in caches': { host: (host) => ({ ...host, settle: async () => undefined }) },
  'a wiper that lives is taken for gone': { host: (host) => ({ ...host, aliveIsGone: async () => true }) },
  'a wipe does nothing': { host: (host) => ({ ...host, zero: async () => undefined }) },
  'two commands may decide on one device': { host: (host) => ({ ...host, claim: async () => ({ [Symbol.asyncDispose]: async () => undefined }) }) },
};
const passing = (catalog: Catalog): Catalog => ({
  read: (body) => catalog.read(body),
  write: (body) => catalog.write(body),
  changeMark: () => catalog.changeMark(),
  backup: (path) => catalog.backup(path),
  selfCheck: () => catalog.selfCheck(),
  [Symbol.asyncDispose]: async () => undefined,
});

for (const [what, mutant] of Object.entries(mutants)) {
  test(`the simulation finds out that ${what}`, async () => {
    await assert.rejects(histories(20_000, { mutant, seed: 4, shrink: false }), /^Error: seed/);
  });
}
