// The contract of the Hypervisor port as tests, run on every implementation that can plug into a domain that runs.
// `open` gives a hypervisor, a domain of it, and endpoints that answer.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Endpoint, Generation } from '../core/types.ts';
import type { Hypervisor, Plug } from './hypervisor.ts';

export type HypervisorUnderTest = AsyncDisposable & {
  readonly hypervisor: Hypervisor;
  readonly domain: string;
  /** Two targets that are free. */
  readonly targets: readonly [{ readonly target: string; readonly vdev: number }, { readonly target: string; readonly vdev: number }];
  endpoint(generation: Generation): Promise<Endpoint>;
  /** The domain begins or ends to use what is plugged. */
  use(plug: Plug, inUse: boolean): Promise<void>;
};

const code = (expected: string) => (error: unknown) => (error as { code?: string }).code === expected;

export function hypervisorContract(name: string, open: () => Promise<HypervisorUnderTest>): void {
  const plugOf = async ({ domain, targets, endpoint }: HypervisorUnderTest, generation: Generation, which: 0 | 1 = 0): Promise<Plug> => ({
    generation,
    domain,
    ...targets[which],
    mode: 'w',
    serial: `xvd-${generation}`,
    endpoint: await endpoint(generation),
  });

  test(`${name}: plug() and unplug() can be repeated, and plugged() tells of it`, async () => {
    await using under = await open();
    const { hypervisor } = under;
    const plug = await plugOf(under, 11);
    const first = await hypervisor.plug(plug);
    assert.deepEqual(await hypervisor.plug(plug), first);
    assert.deepEqual(await hypervisor.plugged(), [11]);
    await hypervisor.unplug({ ...plug, force: false });
    assert.deepEqual(await hypervisor.plugged(), []);
    await hypervisor.unplug({ ...plug, force: false });
    await hypervisor.unplug({ ...plug, generation: 999, force: true });
  });

  test(`${name}: a target that is in use is refused, and stays what it was`, async () => {
    await using under = await open();
    const { hypervisor } = under;
    const plug = await plugOf(under, 21);
    await hypervisor.plug(plug);
    await assert.rejects(hypervisor.plug(await plugOf(under, 22)), code('TARGET_TAKEN'));
    assert.deepEqual(await hypervisor.plugged(), [21]);
    const other = await plugOf(under, 23, 1);
    await hypervisor.plug(other);
    assert.deepEqual((await hypervisor.plugged()).toSorted(), [21, 23]);
    for (const each of [plug, other]) await hypervisor.unplug({ ...each, force: false });
  });

  test(`${name}: what the domain uses is VBD_BUSY and unchanged, unless forced`, async () => {
    await using under = await open();
    const { hypervisor } = under;
    const plug = await plugOf(under, 31);
    await hypervisor.plug(plug);
    await under.use(plug, true);
    await assert.rejects(hypervisor.unplug({ ...plug, force: false }), code('VBD_BUSY'));
    assert.deepEqual(await hypervisor.plugged(), [31]);
    await under.use(plug, false);
    await hypervisor.unplug({ ...plug, force: false });
    const again = await plugOf(under, 32);
    await hypervisor.plug(again);
    await under.use(again, true);
    await hypervisor.unplug({ ...again, force: true });
    assert.deepEqual(await hypervisor.plugged(), []);
    await under.use(again, false);
  });

  test(`${name}: its domain is found by name and by number, others are not`, async () => {
    await using under = await open();
    const { hypervisor, domain } = under;
    const facts = await hypervisor.find(domain);
    assert.equal(facts?.name, domain);
    assert.equal((await hypervisor.find(facts?.id ?? ''))?.name, domain);
    assert.equal(await hypervisor.find('no-such-domain'), null);
    assert.ok((await hypervisor.domains()).some((row) => row.name === domain));
  });
}
