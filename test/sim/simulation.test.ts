// The simulation: `XVD_SIM_STEPS=100000` makes it long (`make sim`), `XVD_SIM_SEED` repeats one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Seen } from './histories.ts';
import { inThread } from './in-thread.ts';
import { mutants } from './mutants.ts';

const histories = (steps: number, options: { readonly mutant?: string; readonly seed?: number; readonly shrink?: boolean }): Promise<Seen> =>
  inThread<Seen>(new URL('./histories.ts', import.meta.url), 'histories', steps, options);

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

for (const mutant of Object.keys(mutants)) {
  test(`the simulation finds out that ${mutant}`, async () => {
    await assert.rejects(histories(20_000, { mutant, seed: 4, shrink: false }), /^Error: seed/);
  });
}
