// Attach and detach that always end well: what comes late, what was cut off, and what the catalog and the hypervisors disagree on.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { XvdError } from '../base/error.ts';
import { MIB } from '../base/units.ts';
import type { Generation } from '../core/types.ts';
import type { Unplug } from '../hypervisor/hypervisor.ts';
import { faultyHypervisor } from '../hypervisor/fake/faulty-hypervisor.ts';
import { openWorld } from '../../test/sim/world.ts';
import type { World } from '../../test/sim/world.ts';
import { attachVbd } from './attach-vbd.ts';
import { checkAttachments } from './check-attachments.ts';
import { checkPool } from './check-pool.ts';
import { createDisk } from './create-disk.ts';
import { detachVbd } from './detach-vbd.ts';
import { setState } from './end-vbd.ts';
import { code } from './fixture-system.ts';
import { formatDevice } from './format-device.ts';
import { keepLeases } from './keep-leases.ts';
import { reconcile } from './reconcile.ts';
import { endDomain, startDomain } from './start-domain.ts';
import type { System } from './system.ts';
import { planOf } from './vbd-plan.ts';
import { vbds } from './vbds.ts';

const at = { target: 'xvda', domain: 'web01' } as const;

/** A pool, and vd:1 attached to web01 (or another domain). */
async function withVbd(domain: string = at.domain): Promise<World> {
  const world = await openWorld();
  await formatDevice(world.system, { device: '/dev/sda', extentBytes: MIB });
  await createDisk(world.system, { sizeBytes: 2 * MIB });
  await attachVbd(world.system, { source: 'vd:1', target: 'xvda', domain, mode: 'w' });
  return world;
}
const states = async (system: System) => (await vbds(system)).map(({ generation, state }) => [generation, state]);
const rowOf = async (system: System, generation: number) => (await system.catalog.read((reader) => reader.vbd(generation))) ?? assert.fail('no row');

test('a detach that comes late, for a VBD that was replaced, leaves the newer one', async () => {
  const { system } = await withVbd();
  await detachVbd(system, { ...at, generation: 1 });
  await attachVbd(system, { source: 'vd:1', ...at, mode: 'w' });
  await assert.rejects(detachVbd(system, { ...at, generation: 1 }), code('VBD_NOT_FOUND', /web01\/xvda@2 is there now/));
  assert.deepEqual(await states(system), [[2, 'attached']]);
  await detachVbd(system, { ...at, generation: 2 });
  await assert.rejects(detachVbd(system, { ...at, generation: 2 }), code('VBD_NOT_FOUND', /nothing is attached there/));
});

test('a detach without force that was cut off asks again at the next start, and what is used stays', async () => {
  const { system, qemu, dataPath } = await withVbd();
  qemu.use(1, true);
  await setState(system, await rowOf(system, 1), 'detaching', 'detach');
  dataPath.restartDaemon();
  await reconcile(system);
  assert.deepEqual([await states(system), await qemu.plugged()], [[[1, 'attached']], [1]]);
  await setState(system, await rowOf(system, 1), 'detaching', 'detach');
  qemu.use(1, false);
  await reconcile(system);
  assert.deepEqual([await states(system), await qemu.plugged()], [[], []]);
});

test('a detach by force that was cut off is completed at the next start, used or not', async () => {
  const { system, qemu, dataPath } = await withVbd();
  qemu.use(1, true);
  dataPath.hang(1);
  await assert.rejects(detachVbd(system, { ...at, force: true }), code('FENCE_UNPROVED'));
  assert.deepEqual(await states(system), [[1, 'revoked']]);
  dataPath.letGo(1);
  await reconcile(system);
  assert.deepEqual(await states(system), []);
});

test('a VBD whose device takes its time to let go holds up no other whose lease has ended', async () => {
  const world = await openWorld();
  await formatDevice(world.system, { device: '/dev/sda', extentBytes: MIB });
  for (const [source, domain] of [['vd:1', 'web01'] as const, ['vd:2', 'web02'] as const]) {
    await createDisk(world.system, { sizeBytes: 2 * MIB, expiresInMs: 1000 });
    await attachVbd(world.system, { source, target: 'xvda', domain, mode: 'w' });
  }
  const [first, other] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const slow = new Proxy(world.dataPath, {
    get(target, name): unknown {
      const value: unknown = Reflect.get(target, name);
      if (name !== 'close') return typeof value === 'function' ? value.bind(target) : value;
      return async (generation: Generation): Promise<void> => {
        if (generation === 1) await first.promise;
        await target.close(generation);
        if (generation === 2) other.resolve();
      };
    },
  });
  const system: System = { ...world.system, dataPaths: [slow] };
  world.advance(2000);
  const round = keepLeases(system, world.memory);
  await other.promise;
  assert.deepEqual((await states(system))[0], [1, 'revoked']);
  first.resolve();
  await round;
  assert.deepEqual(await states(system), []);
});

test('limit, delay and faults reach the data path as they were asked for; what is none is refused before anything is recorded', async () => {
  const { system } = await withVbd();
  const asked = { source: 'vd:1', target: 'xvdb', domain: at.domain, mode: 'r', expert: 2 } as const;
  for (const wrong of [{ limit: '10' }, { delay: '5' }, { faults: 'write=101%' }])
    await assert.rejects(attachVbd(system, { ...asked, ...wrong }), code('VALUE_INVALID'));
  assert.equal((await states(system)).length, 1);
  await attachVbd(system, { ...asked, limit: '500iops', delay: 'read=5ms', faults: '1%' });
  const { rate, delay, faults } = await planOf(system, await rowOf(system, 2));
  assert.deepEqual([rate, delay, faults], [{ requestsPerSecond: 500 }, { read: 5 }, { read: 0.01, write: 0.01, flush: 0.01 }]);
  const plain = await planOf(system, await rowOf(system, 1));
  assert.deepEqual([plain.rate, plain.delay, plain.faults], [undefined, undefined, undefined]);
});

test('by force a guest loses no request where the hypervisor would lose it: its data path ends first', async () => {
  for (const forceLosesRequests of [true, undefined]) {
    const { system, qemu, dataPath } = await withVbd();
    const servedAtUnplug: number[] = [];
    const careless = new Proxy(qemu, {
      get(target, name): unknown {
        if (name === 'forceLosesRequests') return forceLosesRequests;
        if (name === 'unplug')
          return async (what: Unplug): Promise<void> => {
            servedAtUnplug.push((await dataPath.list()).length);
            await target.unplug(what);
          };
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    const hypervisors = system.hypervisors.map((one) => (one.name === qemu.name ? careless : one));
    await detachVbd({ ...system, hypervisors }, { ...at, force: true });
    assert.deepEqual([servedAtUnplug, await states(system)], [[forceLosesRequests ? 0 : 1], []]);
  }
});

test('a hypervisor that does not answer keeps no daemon from starting, and its guests are served', async () => {
  const world = await withVbd();
  const silent = faultyHypervisor(world.qemu, (call) => (call === 'plugged' ? { error: new XvdError('HYPERVISOR_FAILED', 'silent'), after: false } : null));
  const system: System = { ...world.system, hypervisors: [...world.system.hypervisors.filter(({ name }) => name === 'host'), silent] };
  world.dataPath.restartDaemon();
  await reconcile(system);
  assert.deepEqual(await states(system), [[1, 'attached']]);
  assert.deepEqual(
    (await checkAttachments(system)).problems.map((problem) => problem.code),
    ['HYPERVISOR_FAILED'],
  );
  assert.deepEqual((await checkAttachments(world.system)).problems, []);
});

test('a domain that ended and runs again under its name has none of the old VBDs; what is plugged into the new one stays', async () => {
  const { system, qemu } = await withVbd();
  qemu.endDomain('web01');
  qemu.addDomain('web01');
  await createDisk(system, { sizeBytes: MIB });
  await attachVbd(system, { source: 'vd:2', target: 'xvdb', domain: 'web01', mode: 'w' });
  await endDomain(system, 'web01', 'domain ended');
  assert.deepEqual(await states(system), [[2, 'attached']]);
  await attachVbd(system, { source: 'vd:1', ...at, mode: 'w' });
});

test('a domain that is started before the end of its forerunner was told takes its targets over', async () => {
  const { system, qemu } = await withVbd();
  qemu.endDomain('web01');
  const disks = [{ source: 'vd:1', target: 'xvda', mode: 'w' }];
  await startDomain(system, { name: 'web01', kernel: '/boot/vmlinuz', memory: '64M', disks });
  await endDomain(system, 'web01', 'domain ended');
  assert.deepEqual(await states(system), [[2, 'attached']]);
});

test('check tells of a VBD that its guest does not have, and of one that the catalog does not have; repair ends both', async () => {
  const { system, qemu } = await withVbd();
  await qemu.unplug({ generation: 1, ...at, force: true });
  await qemu.plug({
    generation: 77,
    domain: 'web02',
    target: '/dev/xvdb',
    vdev: 51_728,
    mode: 'w',
    serial: 'x',
    endpoint: { kind: 'block', path: '/dev/sdz' },
  });
  const found = async (repair: boolean) => (await checkAttachments(system, { repair })).problems.map((problem) => [problem.code, problem.repaired]);
  assert.deepEqual(await found(false), [
    ['VBD_NOT_PLUGGED', false],
    ['VBD_UNKNOWN', false],
  ]);
  assert.deepEqual(await found(true), [
    ['VBD_NOT_PLUGGED', true],
    ['VBD_UNKNOWN', true],
  ]);
  assert.deepEqual([await found(false), await states(system), await qemu.plugged()], [[], [], []]);
  assert.deepEqual((await checkPool(system)).problems, []);
});

test('check tells of what nothing serves, and of what domain 0 lost; repair puts both back', async () => {
  const world = await withVbd('0');
  const { system, dataPath } = world;
  await dataPath.close(1);
  const [thisHost] = system.hypervisors;
  await thisHost?.unplug({ generation: 1, domain: '0', target: '/dev/xvda', force: true });
  const found = async (repair: boolean) => (await checkAttachments(system, { repair })).problems.map((problem) => [problem.code, problem.repaired]);
  assert.deepEqual(await found(false), [
    ['VBD_NOT_PLUGGED', false],
    ['VBD_NOT_SERVED', false],
  ]);
  assert.deepEqual(await found(true), [['VBD_NOT_PLUGGED', true]]);
  assert.deepEqual([await found(false), await thisHost?.plugged(), await dataPath.list()], [[], [1], [1]]);
});
