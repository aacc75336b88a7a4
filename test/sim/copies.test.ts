// Copies of images as users of disks: what they exclude, how they end, what is in the disk afterwards. The whole product in memory.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attachVbd } from '../../src/app/attach-vbd.ts';
import { checkPool } from '../../src/app/check-pool.ts';
import { copiesUnderWay, daemonEnds, stopCopies } from '../../src/app/copies.ts';
import { exportImage, importImage } from '../../src/app/copy-image.ts';
import { createDisk } from '../../src/app/create-disk.ts';
import { deleteDisk } from '../../src/app/delete-disk.ts';
import { formatDevice } from '../../src/app/format-device.ts';
import { keepLeases } from '../../src/app/keep-leases.ts';
import { listDevices } from '../../src/app/list-devices.ts';
import { showDisk } from '../../src/app/show-disk.ts';
import type { System } from '../../src/app/system.ts';
import { MIB } from '../../src/base/units.ts';
import { openMemoryImages } from '../../src/image/memory/open-memory-images.ts';
import type { MemoryImages } from '../../src/image/memory/open-memory-images.ts';
import { openWorld } from './world.ts';
import type { World } from './world.ts';

type Scene = {
  readonly world: World;
  readonly system: System;
  readonly images: MemoryImages;
  /** A copy in reads that waits here. */ readonly gate: { wait: Promise<void> };
};

async function openScene(onExpiry: 'revoke' | 'hold' = 'revoke'): Promise<Scene> {
  const world = await openWorld();
  const images = openMemoryImages(world.dataPath);
  const gate = { wait: Promise.resolve() };
  const slow: MemoryImages = {
    ...images,
    copyIn: async (image, endpoint, part, watch) => {
      await Promise.race([gate.wait, new Promise((stop) => watch.signal.addEventListener('abort', stop))]);
      return images.copyIn(image, endpoint, part, watch);
    },
  };
  const system: System = { ...world.system, images: slow, copies: new Map() };
  await formatDevice(system, { device: '/dev/sda', extentBytes: MIB });
  await createDisk(system, { sizeBytes: 2 * MIB, name: 'web', expiresInMs: 60_000, onExpiry });
  images.put('/image.raw', new Uint8Array(MIB).fill(7));
  world.host.addDevice({ path: '/image.raw', kind: 'file', sizeBytes: MIB });
  return { world, system, images, gate };
}

/** An import that waits for its gate, with the disk served to it. */
async function underWay({ system, gate, world }: Scene) {
  const opened = Promise.withResolvers<void>();
  gate.wait = opened.promise;
  const copy = importImage(system, { image: '/image.raw', disk: 'web' });
  copy.catch(() => undefined);
  while ((await world.dataPath.list()).length === 0) await new Promise(setImmediate);
  return { copy, open: opened.resolve };
}

const clean = async ({ system, world }: Scene): Promise<void> => {
  assert.deepEqual([await world.dataPath.list(), copiesUnderWay(system), (await checkPool(system)).problems], [[], [], []]);
  assert.deepEqual(await system.catalog.read((reader) => reader.workers()), []);
};

test('what was imported can be exported; behind a smaller image a disk that was used is zeros', async () => {
  const scene = await openScene();
  const { system, images, world } = scene;
  const { generation } = await attachVbd(system, { source: 'vd:web', target: 'xvda', domain: 'app', mode: 'w', driver: 'nbd' });
  world.dataPath.write(generation, MIB, new Uint8Array(4096).fill(9));
  await world.dataPath.close(generation);
  await system.catalog.write((writer) => writer.setVbdState(generation, 'detached'));
  await importImage(system, { image: '/image.raw', disk: 'web' });
  await exportImage(system, { image: '/out.raw', disk: 'web' });
  const expected = new Uint8Array(2 * MIB).fill(7, 0, MIB);
  assert.ok(Buffer.compare(images.content('/out.raw') ?? expected.subarray(1), expected) === 0);
  await assert.rejects(exportImage(system, { image: '/out.raw', disk: 'web' }), { code: 'IMAGE_EXISTS' });
  await clean(scene);
});

test('an import is a writer and an export a reader, for every new use', async () => {
  const scene = await openScene();
  const { system } = scene;
  const reader = { source: 'vd:web', target: 'xvda', domain: 'app', driver: 'nbd' } as const;
  const { copy, open } = await underWay(scene);
  assert.deepEqual(
    copiesUnderWay(system).map(({ kind, disk, totalBytes }) => [kind, disk, totalBytes]),
    [['import', 'vd:1', 2 * MIB]],
  );
  await assert.rejects(attachVbd(system, reader), { code: 'SHARING_REFUSED', message: /copy import of vd:1/ });
  await assert.rejects(importImage(system, { image: '/image.raw', disk: 'web' }), { code: 'SHARING_REFUSED', message: /level 2/ });
  await assert.rejects(exportImage(system, { image: '/out.raw', disk: 'web' }), { code: 'SHARING_REFUSED', message: /level 1/ });
  await assert.rejects(deleteDisk(system, { disk: 'web' }), { code: 'DISK_BUSY', message: /import of vd:1 is under way/ });
  open();
  await copy;
  await attachVbd(system, reader);
  await exportImage(system, { image: '/out.raw', disk: 'web' });
  await assert.rejects(importImage(system, { image: '/image.raw', disk: 'web' }), { code: 'SHARING_REFUSED' });
  const warned = await importImage(system, { image: '/image.raw', disk: 'web', expert: 1 });
  assert.match(warned.warnings.join(), /a writer shares sectors with a reader/);
});

test('a copy ends with the lease of its disk; its space is free only when it is fenced', async () => {
  const scene = await openScene();
  const { system, world } = scene;
  const { copy } = await underWay(scene);
  const [generation = 0] = await world.dataPath.list();
  world.dataPath.hang(generation);
  world.advance(61_000);
  await keepLeases(system, world.memory);
  await assert.rejects(copy, { code: 'FENCE_UNPROVED' });
  const [device] = await listDevices(system);
  assert.deepEqual([device?.reservedBytes, (await showDisk(system, 'web')).state], [2 * MIB, 'expired']);
  world.dataPath.letGo(generation);
  await world.dataPath.close(generation);
  await checkPool(system);
  assert.equal((await listDevices(system))[0]?.reservedBytes, 0, 'proved gone by its pipe');
  await clean(scene);
});

test('with --on-expiry hold a copy goes on past the lease; delete --force and the end of the daemon stop it', async () => {
  const scene = await openScene('hold');
  const { system, world } = scene;
  const first = await underWay(scene);
  world.advance(61_000);
  await keepLeases(system, world.memory);
  first.open();
  assert.equal((await first.copy).changed, true);
  await assert.rejects(importImage(system, { image: '/image.raw', disk: 'web' }), { code: 'DISK_EXPIRED' });
  await createDisk(system, { sizeBytes: 2 * MIB, name: 'new' });
  const again: Scene = { ...scene, system: { ...system } };
  const opened = Promise.withResolvers<void>();
  scene.gate.wait = opened.promise;
  const second = importImage(again.system, { image: '/image.raw', disk: 'new' });
  second.catch(() => undefined);
  while ((await world.dataPath.list()).length === 0) await new Promise(setImmediate);
  await deleteDisk(again.system, { disk: 'new', force: true });
  await keepLeases(again.system, world.memory);
  await assert.rejects(second, { code: 'DISK_EXPIRED' });
  await createDisk(system, { sizeBytes: 2 * MIB, name: 'newer' });
  const third = importImage(system, { image: '/image.raw', disk: 'newer' });
  third.catch(() => undefined);
  while ((await world.dataPath.list()).length === 0) await new Promise(setImmediate);
  await stopCopies(system, daemonEnds());
  await assert.rejects(third, { code: 'COPY_STOPPED', message: /the daemon ended/ });
  await clean(scene);
});
