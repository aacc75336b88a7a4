// Random histories of the whole product against a plain model of what each disk must read as. After every step I1 and I2
// hold (spec, Invariants), and whatever a step answers is an answer of xvd, never a bug.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { attachVbd } from '../../src/app/attach-vbd.ts';
import { checkPool } from '../../src/app/check-pool.ts';
import { createDisk } from '../../src/app/create-disk.ts';
import { deleteDisk } from '../../src/app/delete-disk.ts';
import { detachVbd } from '../../src/app/detach-vbd.ts';
import { formatDevice } from '../../src/app/format-device.ts';
import { keepLeases, leaseMemory } from '../../src/app/keep-leases.ts';
import { listDevices } from '../../src/app/list-devices.ts';
import { listDisks } from '../../src/app/list-disks.ts';
import { reconcile } from '../../src/app/reconcile.ts';
import { refreshDisk } from '../../src/app/refresh-disk.ts';
import { restoreDisk } from '../../src/app/restore-disk.ts';
import { showDisk } from '../../src/app/show-disk.ts';
import { vbds } from '../../src/app/vbds.ts';
import { XvdError } from '../../src/base/error.ts';
import { MIB } from '../../src/base/units.ts';
import { DEVICES, openWorld } from './world.ts';
import type { World } from './world.ts';

const BLOCK = 4096;

/** What each disk must read as, block by block: the owner's last stamp, or zeros (I4). */
class Model {
  readonly #blocks = new Map<number, Map<number, number>>();

  write(disk: number, block: number, stamp: number): void {
    const blocks = this.#blocks.get(disk) ?? new Map<number, number>();
    this.#blocks.set(disk, blocks.set(block, stamp));
  }

  expected(disk: number, block: number): number {
    return this.#blocks.get(disk)?.get(block) ?? 0;
  }
}

type Step = { readonly kind: keyof typeof actions; readonly a: number; readonly b: number };
type Scene = { readonly world: World; readonly model: Model; stamp: number };

const domains = ['0', 'web01', 'web02'];
const targets = ['xvda', 'xvdb', 'sda'];
const pick = <T>(list: readonly T[], at: number): T | undefined => list[at % list.length];

/** Mostly a disk that is in such a state, sometimes any ID: refusals are part of a history. */
async function diskFor({ world }: Scene, which: 'living' | 'expired', at: number): Promise<string> {
  const disks = await listDisks(world.system, { which });
  return at % 5 === 0 ? String(1 + (at % 12)) : String(pick(disks, at)?.id ?? 1 + (at % 12));
}

const actions = {
  async format({ world }: Scene, a: number) {
    await formatDevice(world.system, { device: pick(DEVICES, a) ?? '', extentBytes: MIB });
  },
  async create({ world }: Scene, a: number, b: number) {
    const lease = b % 3 === 0 ? {} : { expiresInMs: 1000 * (1 + (b % 50)) };
    await createDisk(world.system, {
      sizeBytes: BLOCK * (1 + (a % 1200)),
      ...lease,
      ...(b % 7 === 0 ? { name: `n${a % 3}` } : {}),
      onExpiry: b % 5 === 0 ? 'hold' : 'revoke',
    });
  },
  async refresh(scene: Scene, a: number, b: number) {
    await refreshDisk(scene.world.system, { disk: await diskFor(scene, 'living', a), expiresInMs: b % 2 === 0 ? null : 1000 * (1 + (b % 90)) });
  },
  async remove(scene: Scene, a: number, b: number) {
    await deleteDisk(scene.world.system, { disk: await diskFor(scene, 'living', a), force: b % 3 === 0 });
  },
  async restore(scene: Scene, a: number, b: number) {
    await restoreDisk(scene.world.system, { disk: await diskFor(scene, 'expired', a), expiresInMs: 1000 * (1 + (b % 90)) });
  },
  async attach(scene: Scene, a: number, b: number) {
    await attachVbd(scene.world.system, {
      source: `vd:${await diskFor(scene, 'living', a)}`,
      target: pick(targets, b) ?? '',
      domain: pick(domains, a + b) ?? '',
      mode: b % 5 === 0 ? 'r' : 'w',
    });
  },
  async detach({ world }: Scene, a: number, b: number) {
    await detachVbd(world.system, { target: pick(targets, b) ?? '', domain: pick(domains, a) ?? '', force: a % 4 === 0 });
  },
  async write(scene: Scene, a: number, b: number) {
    const vbd = pick(
      (await vbds(scene.world.system)).filter(({ mode, state }) => mode === 'w' && state === 'attached'),
      a,
    );
    if (vbd === undefined) return;
    scene.stamp = 1 + (scene.stamp % 250);
    const block = b % (vbd.sizeBytes / BLOCK);
    scene.world.dataPath.write(vbd.generation, block * BLOCK, new Uint8Array(BLOCK).fill(scene.stamp));
    scene.model.write(Number(vbd.source.slice(3)), block, scene.stamp);
  },
  async time({ world }: Scene, a: number) {
    world.advance(1000 * (a % 40));
    await keepLeases(world.system, world.memory);
  },
  async guest({ world }: Scene, a: number, b: number) {
    const vbd = pick(await vbds(world.system), a);
    if (vbd !== undefined) world.qemu.use(vbd.generation, b % 2 === 0);
  },
  async domainEnds({ world }: Scene, a: number) {
    const domain = pick(['web01', 'web02'], a) ?? '';
    if ((await world.qemu.find(domain)) === null) return world.qemu.addDomain(domain);
    world.qemu.endDomain(domain);
    await reconcile(world.system);
  },
  async hang({ world }: Scene, a: number, b: number) {
    const vbd = pick(await vbds(world.system), a);
    if (vbd === undefined || !(await world.dataPath.list()).includes(vbd.generation)) return;
    if (b % 3 === 0) world.dataPath.hang(vbd.generation);
    else world.dataPath.letGo(vbd.generation);
  },
  async daemonDies({ world }: Scene) {
    world.dataPath.restartDaemon();
    world.memory = leaseMemory();
    await reconcile(world.system);
  },
};

const kinds = Object.keys(actions) as (keyof typeof actions)[];
const weights: Partial<Record<keyof typeof actions, number>> = { create: 8, attach: 8, write: 8, time: 4, detach: 4, restore: 2, remove: 3 };
const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.oneof(...kinds.map((kind) => ({ weight: weights[kind] ?? 1, arbitrary: fc.constant(kind) }))),
  a: fc.nat(100_000),
  b: fc.nat(100_000),
});

/** What a user may be told; anything else is a bug of ours. */
async function answered(body: () => Promise<void>): Promise<void> {
  try {
    await body();
  } catch (error) {
    if (!(error instanceof XvdError) || error.code === 'INTERNAL' || error.code === 'CATALOG_DAMAGED') throw error;
  }
}

async function holds({ world, model }: Scene): Promise<void> {
  const { system } = world;
  const { problems } = await checkPool(system);
  assert.deepEqual(
    problems.filter(({ code }) => code !== 'FENCE_UNPROVED' && code !== 'DEVICE_IDENTITY_MISMATCH'),
    [],
    'I1',
  );
  for (const device of await listDevices(system)) {
    assert.equal(device.usedBytes + device.freeBytes + device.reservedBytes + device.badBytes, device.totalBytes, 'the four add up');
  }
  const rows = new Map((await vbds(system)).map((vbd) => [vbd.generation, vbd]));
  for (const generation of await world.dataPath.list()) {
    if (await world.dataPath.isGone(generation)) continue;
    const vbd = rows.get(generation);
    assert.ok(vbd !== undefined, `I2: generation ${generation} can reach extents and has no row`);
    const disk = await showDisk(system, vbd.source);
    assert.equal(disk.lostBytes, 0, `I2: ${vbd.source} lost extents that ${vbd.target} of ${vbd.domain} can reach`);
  }
  for (const vbd of rows.values()) {
    if (vbd.state !== 'attached') continue;
    const disk = Number(vbd.source.slice(3));
    for (let block = 0; block < vbd.sizeBytes / BLOCK; block += 1) {
      const [first] = world.dataPath.read(vbd.generation, block * BLOCK, 1);
      assert.equal(first, model.expected(disk, block), `I4: block ${block} of ${vbd.source}`);
    }
  }
}

test('I1, I2, I4, F4, F12: they hold after every step of random histories', async () => {
  const property = fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 100, size: 'max' }), async (steps) => {
    const scene: Scene = { world: await openWorld(), model: new Model(), stamp: 0 };
    await formatDevice(scene.world.system, { device: DEVICES[0], extentBytes: MIB });
    for (const { kind, a, b } of steps) {
      await answered(() => actions[kind](scene, a, b));
      await holds(scene);
    }
  });
  await fc.assert(property, { numRuns: Number(process.env['XVD_SIM_RUNS'] ?? 200) });
});

test('the simulation reaches what it is about: reclaiming, revoking and restoring happen in its histories', async () => {
  const seen = new Set<string>();
  const property = fc.asyncProperty(fc.array(step, { minLength: 60, maxLength: 60 }), async (steps) => {
    const scene: Scene = { world: await openWorld(), model: new Model(), stamp: 0 };
    await formatDevice(scene.world.system, { device: DEVICES[0], extentBytes: MIB });
    for (const { kind, a, b } of steps) await answered(() => actions[kind](scene, a, b));
    for (const { type } of await scene.world.system.catalog.read((reader) => reader.events(0, 1000))) seen.add(type);
    for (const { state } of await listDisks(scene.world.system, { which: 'all' })) seen.add(state);
  });
  await fc.assert(property, { numRuns: 60, seed: 1 });
  for (const wanted of ['disk.reclaimed', 'disk.restored', 'vbd.attached', 'vbd.revoked', 'vbd.detached', 'disk.expired', 'reclaimed', 'live'])
    assert.ok(seen.has(wanted), wanted);
});
