// Leases against attachments: told ahead, revoked at the end or left (`hold`), restored in between; and nothing is given away
// before it is fenced.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attachVbd } from '../../src/app/attach-vbd.ts';
import { checkPool } from '../../src/app/check-pool.ts';
import { createDisk } from '../../src/app/create-disk.ts';
import { detachVbd } from '../../src/app/detach-vbd.ts';
import { events } from '../../src/app/events.ts';
import { formatDevice } from '../../src/app/format-device.ts';
import { keepLeases } from '../../src/app/keep-leases.ts';
import { listDevices } from '../../src/app/list-devices.ts';
import { refreshDisk } from '../../src/app/refresh-disk.ts';
import { restoreDisk } from '../../src/app/restore-disk.ts';
import { showDisk } from '../../src/app/show-disk.ts';
import { vbds } from '../../src/app/vbds.ts';
import { MIB } from '../../src/base/units.ts';
import { openWorld } from './world.ts';
import type { World } from './world.ts';

const MINUTE = 60_000;

async function openScene(onExpiry: 'revoke' | 'hold'): Promise<World> {
  const world = await openWorld();
  await formatDevice(world.system, { device: '/dev/sda', extentBytes: MIB });
  await createDisk(world.system, { sizeBytes: 2 * MIB, name: 'web', expiresInMs: 10 * MINUTE, onExpiry });
  await attachVbd(world.system, { source: 'vd:web', target: 'xvda', domain: 'web01', mode: 'w' });
  return world;
}

const round = async (world: World, passMs = 0): Promise<number | null> => {
  world.advance(passMs);
  return (await keepLeases(world.system, world.memory)).nextWakeMs;
};
const told = async ({ system }: World, type: string): Promise<{ subject: string; data: Readonly<Record<string, unknown>> }[]> =>
  (await events(system, {})).filter((event) => event.type === type);
const states = async ({ system }: World): Promise<string[]> => (await vbds(system)).map(({ state }) => state);
const space = async ({ system }: World): Promise<{ reserved: number; used: number }> => {
  const [device] = await listDevices(system);
  return { reserved: device?.reservedBytes ?? -1, used: device?.usedBytes ?? -1 };
};

test('the end of a lease is told a minute ahead, once, and again when the lease was changed', async () => {
  const world = await openScene('revoke');
  assert.equal(await round(world), 9 * MINUTE, 'the keeper wakes up for the warning');
  assert.deepEqual(await told(world, 'disk.expiring'), []);
  assert.equal(await round(world, 9 * MINUTE), MINUTE);
  await round(world, 1000);
  const [warning, second] = await told(world, 'disk.expiring');
  assert.deepEqual([warning?.subject, warning?.data['domain'], warning?.data['target'], second], ['vd:1', 'web01', '/dev/xvda', undefined]);
  await refreshDisk(world.system, { disk: 'web', expiresInMs: 10 * MINUTE });
  await round(world);
  await round(world, 9.5 * MINUTE);
  assert.equal((await told(world, 'disk.expiring')).length, 2);
  assert.deepEqual(await states(world), ['attached']);
});

test('revoke: the VBD ends with the lease, although its guest uses it, and only then its space is free', async () => {
  const world = await openScene('revoke');
  const [vbd] = await vbds(world.system);
  world.qemu.use(vbd?.generation ?? 0, true);
  world.dataPath.hang(vbd?.generation ?? 0);
  await round(world, 10 * MINUTE);
  assert.deepEqual(await states(world), ['revoked'], 'a process of it hangs');
  assert.deepEqual(await space(world), { reserved: 2 * MIB, used: 0 });
  assert.deepEqual(
    (await told(world, 'vbd.reserved')).map(({ subject }) => subject),
    ['web01/xvda@1'],
  );
  assert.equal((await checkPool(world.system)).problems[0]?.code, 'FENCE_UNPROVED');
  const before = (await events(world.system, {})).length;
  assert.ok(((await round(world)) ?? 0) > 0, 'not tried again at once');
  for (let time = 0; time < 20; time += 1) await round(world, 10_000);
  assert.equal((await told(world, 'vbd.reserved')).length, 1, 'told once');
  assert.ok((await events(world.system, {})).length - before < 20);
  world.dataPath.letGo(vbd?.generation ?? 0);
  await round(world, MINUTE);
  assert.deepEqual([await states(world), await space(world)], [[], { reserved: 0, used: 0 }]);
  assert.equal((await showDisk(world.system, 'web')).state, 'expired');
  assert.deepEqual((await checkPool(world.system)).problems, []);
});

test('hold: the VBD stays, its space is reserved; not refreshed but restored; what is let go of is free', async () => {
  const world = await openScene('hold');
  await round(world, 10 * MINUTE);
  const disk = await showDisk(world.system, 'web');
  assert.deepEqual([disk.state, disk.recoverable, disk.vbds.map(({ state }) => state)], ['expired', true, ['attached']]);
  assert.deepEqual(await space(world), { reserved: 2 * MIB, used: 0 });
  await assert.rejects(createDisk(world.system, { sizeBytes: 8 * MIB }), { code: 'POOL_FULL' }, 'nothing of it is given away');
  world.dataPath.write(1, 0, new Uint8Array(4096).fill(7));
  await assert.rejects(refreshDisk(world.system, { disk: 'web' }), { code: 'DISK_EXPIRED' });
  assert.equal((await restoreDisk(world.system, { disk: 'web', expiresInMs: MINUTE })).state, 'live');
  assert.deepEqual(await space(world), { reserved: 0, used: 2 * MIB });
  assert.deepEqual(world.dataPath.read(1, 0, 1), Uint8Array.of(7), 'its guest never noticed');
  await round(world, MINUTE);
  await detachVbd(world.system, { target: 'xvda', domain: 'web01' });
  assert.deepEqual(await space(world), { reserved: 0, used: 0 });
  await createDisk(world.system, { sizeBytes: 8 * MIB });
  assert.equal((await showDisk(world.system, 'web')).state, 'reclaimed');
});

test('a disk that is restored while it is revoked lives; the revoke that has begun still ends its VBD', async () => {
  const world = await openScene('revoke');
  world.dataPath.write(1, 0, new Uint8Array(4096).fill(7));
  world.dataPath.hang(1);
  await round(world, 10 * MINUTE);
  const restored = await restoreDisk(world.system, { disk: 'web' });
  assert.deepEqual([restored.state, restored.vbds.map(({ state }) => state)], ['live', ['revoked']]);
  await assert.rejects(attachVbd(world.system, { source: 'vd:web', target: 'xvdb', domain: 'web02', mode: 'w' }), { code: 'SHARING_REFUSED' });
  world.dataPath.letGo(1);
  await round(world, MINUTE);
  assert.deepEqual(await states(world), []);
  const again = await attachVbd(world.system, { source: 'vd:web', target: 'xvdb', domain: 'web02', mode: 'w' });
  assert.deepEqual(world.dataPath.read(again.generation, 0, 1), Uint8Array.of(7), 'nothing of it was lost');
  assert.deepEqual((await checkPool(world.system)).problems, []);
});
