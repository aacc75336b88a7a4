// Each operation of the product, with a kill after every call that it makes of any port, and with every call failing,
// before it did anything or after it did it all. Each time I1 to I4 hold, the next daemon mends what was left, and nothing is lost.

import assert from 'node:assert/strict';
import { attachVbd } from '../../src/app/attach-vbd.ts';
import { checkPool } from '../../src/app/check-pool.ts';
import { exportImage, importImage } from '../../src/app/copy-image.ts';
import { createDisk } from '../../src/app/create-disk.ts';
import { deleteDisk } from '../../src/app/delete-disk.ts';
import { detachVbd } from '../../src/app/detach-vbd.ts';
import { formatDevice, unformatDevice } from '../../src/app/format-device.ts';
import { keepLeases } from '../../src/app/keep-leases.ts';
import { endDomain, startDomain, stopDomain } from '../../src/app/start-domain.ts';
import { EXTENT_BYTES } from './drives.ts';
import type { Fate } from './process.ts';
import { Scene } from './scene.ts';
import type { Ended } from './scene.ts';

type Operation = { readonly before: (scene: Scene) => Promise<unknown>; readonly does: (scene: Scene, fate: Fate | null) => Promise<Ended> };

const create = (scene: Scene, extents = 2, expiresInMs: number | null = null) =>
  scene.command((system) => createDisk(system, { sizeBytes: extents * EXTENT_BYTES, expiresInMs }));
const attach = (scene: Scene, source: string, domain: string, fate: Fate | null = null, more: { persist?: boolean; cache?: 'writeback' } = {}) =>
  scene.daemon((system) => attachVbd(system, { source, target: 'xvda', domain, mode: 'w', ...more }), fate);
const detach = (scene: Scene, domain: string, force: boolean, fate: Fate | null) =>
  scene.daemon((system) => detachVbd(system, { target: 'xvda', domain, force }), fate);

/** A disk with a stamp in it, attached. */
async function attached(scene: Scene, domain: string, expiresInMs: number | null = null, more: { persist?: boolean; cache?: 'writeback' } = {}): Promise<void> {
  await create(scene, 2, expiresInMs);
  assert.equal(await attach(scene, 'vd:1', domain, null, more), 'done');
  await scene.write(0, 3);
}
async function usedByGuest(scene: Scene): Promise<void> {
  await attached(scene, 'web01');
  scene.world.qemu.use(1, true);
}
const twoDisks = async (scene: Scene): Promise<unknown> => [await create(scene), await create(scene)];
const description = {
  name: 'vm0',
  kernel: '/boot/vmlinuz',
  memory: '64M',
  disks: ['xvda', 'xvdb'].map((target, at) => ({ source: `vd:${at + 1}`, target, mode: 'w' })),
};

export const operations: Readonly<Record<string, Operation>> = {
  create: { before: async () => undefined, does: (scene, fate) => scene.command((system) => createDisk(system, { sizeBytes: 3 * EXTENT_BYTES }), fate) },
  'create from what expired': {
    before: async (scene) => {
      await create(scene, 7, 1000);
      scene.world.advance(2000);
    },
    does: (scene, fate) => scene.command((system) => createDisk(system, { sizeBytes: 5 * EXTENT_BYTES }), fate),
  },
  'attach to domain 0': { before: create, does: (scene, fate) => attach(scene, 'vd:1', '0', fate) },
  'attach to a guest': { before: create, does: (scene, fate) => attach(scene, 'vd:1', 'web01', fate) },
  'attach a device': { before: async () => undefined, does: (scene, fate) => attach(scene, 'phy:/dev/sdd', 'web01', fate) },
  'attach that comes back': { before: create, does: (scene, fate) => attach(scene, 'vd:1', '0', fate, { persist: true }) },
  detach: { before: (scene) => attached(scene, '0'), does: (scene, fate) => detach(scene, '0', false, fate) },
  'detach from a cache': {
    before: (scene) => attached(scene, 'web01', null, { cache: 'writeback' }),
    does: (scene, fate) => detach(scene, 'web01', false, fate),
  },
  'detach by force': { before: usedByGuest, does: (scene, fate) => detach(scene, 'web01', true, fate) },
  'detach of what is used': { before: usedByGuest, does: (scene, fate) => detach(scene, 'web01', false, fate) },
  'delete by force': { before: usedByGuest, does: (scene, fate) => scene.daemon((system) => deleteDisk(system, { disk: '1', force: true }), fate) },
  'the end of a lease': {
    before: async (scene) => {
      await attached(scene, 'web01', 1000, { cache: 'writeback' });
      scene.world.advance(2000);
    },
    does: (scene, fate) => scene.daemon((system) => keepLeases(system, scene.world.memory), fate),
  },
  import: {
    before: async (scene) => {
      await create(scene);
      scene.world.images.put('/image.raw', new Uint8Array(EXTENT_BYTES).fill(1));
      scene.world.host.addDevice({ path: '/image.raw', kind: 'file', sizeBytes: EXTENT_BYTES });
    },
    does: (scene, fate) => {
      return scene.daemon((system) => importImage(system, { image: '/image.raw', disk: '1' }), fate);
    },
  },
  export: { before: create, does: (scene, fate) => scene.daemon((system) => exportImage(system, { disk: '1', image: '/image.qcow2' }), fate) },
  'domain start': { before: twoDisks, does: (scene, fate) => scene.daemon((system) => startDomain(system, description), fate) },
  'domain stop': {
    before: async (scene) => {
      await twoDisks(scene);
      await scene.daemon((system) => startDomain(system, description));
    },
    does: (scene, fate) => scene.daemon((system) => stopDomain(system, { name: 'vm0' }), fate),
  },
  'the end of a domain': {
    before: async (scene) => {
      await attached(scene, 'web01');
      scene.world.qemu.endDomain('web01');
    },
    does: (scene, fate) => scene.daemon((system) => endDomain(system, 'web01', 'domain ended'), fate),
  },
  'the start of a daemon': {
    before: async (scene) => {
      await attached(scene, 'web01');
      await create(scene);
      await scene.daemon((system) => attachVbd(system, { source: 'vd:2', target: 'xvdb', domain: '0', mode: 'w' }), { at: 30, what: 'kill', after: true });
    },
    does: (scene, fate) => scene.restart(fate),
  },
  'the start of a daemon after a crash of the host': {
    before: async (scene) => {
      await attached(scene, '0', null, { persist: true });
      await scene.hostCrashes();
    },
    does: (scene, fate) => scene.restart(fate),
  },
  'format and wipe': {
    before: async () => undefined,
    does: (scene, fate) => scene.command((system) => formatDevice(system, { device: '/dev/sdb', extentBytes: EXTENT_BYTES, wipe: true }), fate),
  },
  check: {
    before: (scene) => scene.command((system) => createDisk(system, { sizeBytes: 3 * EXTENT_BYTES }), { at: 20, what: 'kill', after: false }),
    does: (scene, fate) => scene.command((system) => checkPool(system, { repair: true }), fate),
  },
  unformat: {
    before: (scene) => scene.command((system) => formatDevice(system, { device: '/dev/sdb', extentBytes: EXTENT_BYTES })),
    does: (scene, fate) => scene.command((system) => unformatDevice(system, { device: '/dev/sdb' }), fate),
  },
};

/** Everything as it would be, but for that. */
async function suffer({ before, does }: Operation, fate: Fate): Promise<Ended> {
  const scene = await Scene.open(() => 0);
  await before(scene);
  await scene.judge();
  const ended = await does(scene, fate);
  await scene.judge();
  await scene.write(0, 5);
  await scene.judge();
  await scene.end();
  return ended;
}

/** A kill after every call (one before a call is one after the call before it), and every call failing before and after. */
export async function sufferEveryCall(name: string): Promise<number> {
  const operation = operations[name];
  assert.ok(operation !== undefined);
  let calls = 0;
  while ((await suffer(operation, { at: calls + 1, what: 'kill', after: true })) === 'died') calls += 1;
  for (let at = 1; at <= calls; at += 1) for (const after of [false, true]) await suffer(operation, { at, what: 'fail', after });
  return calls;
}
