// What comes back after a reboot of the host, and what a start that was cut off leaves: the whole product in memory, with a
// host that boots again and a daemon that is killed at each of its steps.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attachDue, startDue } from '../../src/app/after-reboot.ts';
import { attachVbd } from '../../src/app/attach-vbd.ts';
import { autostartDomain, stopAutostart } from '../../src/app/autostart-domain.ts';
import { checkPool } from '../../src/app/check-pool.ts';
import { createDisk } from '../../src/app/create-disk.ts';
import { deleteDisk } from '../../src/app/delete-disk.ts';
import { detachVbd } from '../../src/app/detach-vbd.ts';
import { events } from '../../src/app/events.ts';
import { formatDevice } from '../../src/app/format-device.ts';
import { listDevices } from '../../src/app/list-devices.ts';
import { reconcile } from '../../src/app/reconcile.ts';
import { restoreDisk } from '../../src/app/restore-disk.ts';
import { listDomains, startDomain, stopDomain } from '../../src/app/start-domain.ts';
import type { System } from '../../src/app/system.ts';
import { vbds } from '../../src/app/vbds.ts';
import { MIB } from '../../src/base/units.ts';
import type { FakeHypervisor } from '../../src/hypervisor/fake/open-fake-hypervisor.ts';
import { openWorld } from './world.ts';
import type { World } from './world.ts';

async function openScene(): Promise<World> {
  const world = await openWorld();
  world.qemu.endDomain('web01');
  await formatDevice(world.system, { device: '/dev/sda', extentBytes: MIB });
  for (const name of ['a', 'b', 'c']) await createDisk(world.system, { sizeBytes: MIB, name });
  return world;
}

/** Everything that runs is gone; the next daemon does what it does at its start. */
async function reboot(world: World): Promise<void> {
  crash(world);
  await start(world.system);
}

function crash(world: World): void {
  const thisHost = world.system.hypervisors.find(({ name }) => name === 'host') as FakeHypervisor;
  world.host.reboot();
  world.dataPath.reboot();
  thisHost.endDomain('0');
  thisHost.addDomain('0');
  for (const domain of ['web01', 'web02']) world.qemu.endDomain(domain);
}

async function start(system: System): Promise<void> {
  await reconcile(system);
  await startDue(system, 0);
}

const attached = async ({ system }: World): Promise<string[]> =>
  (await vbds(system)).filter(({ state }) => state === 'attached').map(({ source, domain, target, mode }) => `${source} ${domain}${target} ${mode}`);
const problems = async ({ system }: World): Promise<string[]> => (await checkPool(system)).problems.map(({ code }) => code);
const typesOf = async ({ system }: World): Promise<string[]> => (await events(system, {})).map(({ type }) => type);

const web = { name: 'web01', kernel: '/k', memory: '64M', disks: [{ source: 'vd:a', target: '/dev/xvda', mode: 'w' }] };

test('what was attached with --persist comes back in the order in which it was asked for; the rest does not', async () => {
  const world = await openScene();
  const { system } = world;
  await attachVbd(system, { source: 'vd:b', target: 'xvdb', domain: '0', mode: 'w', persist: true });
  await attachVbd(system, { source: 'vd:c', target: 'xvdc', domain: '0', mode: 'r' });
  await attachVbd(system, {
    source: 'vd:a',
    target: 'xvda',
    domain: 'backup',
    mode: 'r',
    driver: 'nbd',
    persist: true,
    limit: '9M',
    delay: '5ms',
    faults: 'read=1%',
  });
  await reboot(world);
  assert.deepEqual(await attached(world), ['vd:2 0/dev/xvdb w', 'vd:1 backup/dev/xvda r']);
  const filters = (await system.catalog.read((reader) => reader.vbds())).map(({ limit, delay, faults }) => [limit, delay, faults]);
  assert.deepEqual(filters.toSorted(), [
    [null, null, null],
    ['9M', '5ms', 'read=1%'],
  ]);
  await reboot(world);
  assert.deepEqual(await attached(world), ['vd:2 0/dev/xvdb w', 'vd:1 backup/dev/xvda r'], 'and at the next one');
  await detachVbd(system, { target: 'xvdb', domain: '0' });
  await reboot(world);
  assert.deepEqual(await attached(world), ['vd:1 backup/dev/xvda r'], 'a detach is for good');
  assert.deepEqual(await problems(world), []);
});

test('--persist can be said later; a plain attach to the target takes it back', async () => {
  const world = await openScene();
  const { system } = world;
  const options = { source: 'vd:b', target: 'xvdb', domain: '0', mode: 'w' } as const;
  await attachVbd(system, options);
  const kept = await attachVbd(system, { ...options, persist: true });
  assert.deepEqual([kept.changed, kept.persist], [true, true]);
  assert.equal((await attachVbd(system, { ...options, persist: true })).changed, false);
  await reboot(world);
  assert.deepEqual(await attached(world), ['vd:2 0/dev/xvdb w']);
  await detachVbd(system, { target: 'xvdb', domain: '0' });
  await attachVbd(system, options);
  await reboot(world);
  assert.deepEqual(await attached(world), []);
});

test('what cannot come back is told with its reason, shown by check, tried again, and given up by a detach', async () => {
  const world = await openScene();
  const { system } = world;
  await attachVbd(system, { source: 'vd:b', target: 'xvdb', domain: '0', mode: 'w', persist: true });
  await attachVbd(system, { source: 'phy:/dev/sdb', target: 'xvdc', domain: '0', mode: 'w', persist: true });
  crash(world);
  await deleteDisk(system, { disk: 'b', force: true }).catch(() => undefined);
  await start(system);
  world.host.pullDevice('/dev/sdb');
  await reboot(world);
  assert.deepEqual(await attached(world), []);
  const told = (await events(system, {})).filter(({ type }) => type === 'vbd.not-attached');
  assert.match(JSON.stringify(told.at(-1)), /0\/xvdc.*phy:\/dev\/sdb.*not here/);
  assert.ok((await problems(world)).includes('VBD_NOT_ATTACHED'));
  world.host.returnDevice('/dev/sdb');
  await start(system);
  assert.deepEqual(await attached(world), ['phy:/dev/sdb 0/dev/xvdc w'], 'the next start of the daemon tries again');
  assert.deepEqual(await problems(world), []);
  world.host.pullDevice('/dev/sdb');
  await reboot(world);
  const given = await detachVbd(system, { target: 'xvdc', domain: '0' });
  assert.deepEqual([given.changed, given.state], [true, 'detached']);
  assert.match(given.warnings.join(), /was not attached/);
  assert.deepEqual(await problems(world), []);
  await assert.rejects(detachVbd(system, { target: 'xvdc', domain: '0' }), { code: 'VBD_NOT_FOUND' });
});

test('a lease that ended while the host was down: not attached, and said; restored, it comes back', async () => {
  const world = await openScene();
  const { system } = world;
  await createDisk(system, { sizeBytes: MIB, name: 'd', expiresInMs: 10_000 });
  await attachVbd(system, { source: 'vd:d', target: 'xvdd', domain: '0', persist: true });
  crash(world);
  world.advance(20_000);
  await start(system);
  assert.deepEqual(await attached(world), []);
  assert.deepEqual(await problems(world), ['VBD_NOT_ATTACHED']);
  await restoreDisk(system, { disk: 'd' });
  await start(system);
  assert.deepEqual(await attached(world), ['vd:4 0/dev/xvdd r']);
  assert.deepEqual(await problems(world), []);
});

test('devices that have other names after the boot are found by what they are known by', async () => {
  const world = await openWorld();
  const system: System = { ...world.system, host: { ...world.system.host, blockDevices: async () => ['/dev/sda', '/dev/sdb', '/dev/sdz', '/dev/sdy'] } };
  await formatDevice(system, { device: '/dev/sda', extentBytes: MIB, label: false });
  await createDisk(system, { sizeBytes: MIB, name: 'a' });
  await attachVbd(system, { source: 'vd:a', target: 'xvda', domain: '0', mode: 'w', persist: true });
  await attachVbd(system, { source: 'phy:/dev/sdb', target: 'xvdb', domain: '0', persist: true });
  const facts = [await world.host.inspect('/dev/sda'), await world.host.inspect('/dev/sdb')];
  crash(world);
  for (const [index, path] of ['/dev/sdz', '/dev/sdy'].entries()) {
    const { sizeBytes, identity, path: was } = facts[index] as (typeof facts)[number];
    world.host.pullDevice(was);
    world.host.addDevice({ path, sizeBytes, identity });
  }
  await start(system);
  assert.deepEqual(await attached(world), ['vd:1 0/dev/xvda w', 'phy:/dev/sdy 0/dev/xvdb r']);
  assert.deepEqual(
    (await listDevices(system)).map(({ device }) => device),
    ['/dev/sdz'],
  );
  assert.ok((await typesOf(world)).includes('device.moved'));
  assert.deepEqual(await problems(world), []);
});

test('without a daemon, check --repair finds a device that moved', async () => {
  const world = await openWorld();
  const system: System = { ...world.system, host: { ...world.system.host, blockDevices: async () => ['/dev/sdz'] } };
  await formatDevice(system, { device: '/dev/sda', extentBytes: MIB, label: false });
  const { sizeBytes, identity } = await world.host.inspect('/dev/sda');
  world.host.pullDevice('/dev/sda');
  world.host.addDevice({ path: '/dev/sdz', sizeBytes, identity });
  assert.equal((await checkPool(system)).problems[0]?.code, 'DEVICE_NOT_FOUND');
  assert.deepEqual((await checkPool(system, { repair: true })).problems, [
    { code: 'DEVICE_MOVED', message: 'what was /dev/sda is /dev/sdz now', repaired: true },
  ]);
  assert.deepEqual((await checkPool(system)).problems, []);
});

test('a host that lacks the data path of the boot before attaches by another', async () => {
  const world = await openScene();
  const { system } = world;
  await attachVbd(system, { source: 'vd:b', target: 'xvdb', domain: '0', mode: 'w', persist: true });
  crash(world);
  const other: System = { ...system, dataPaths: [{ ...world.dataPath, driver: 'dm' }] };
  await start(other);
  assert.deepEqual(
    (await vbds(other)).map(({ driver, state }) => [driver, state]),
    [['dm', 'attached']],
  );
});

test('two devices with one identity: neither is taken, and both are named', async () => {
  const world = await openWorld();
  const system: System = { ...world.system, host: { ...world.system.host, blockDevices: async () => ['/dev/sdy', '/dev/sdz'] } };
  await attachVbd(system, { source: 'phy:/dev/sdb', target: 'xvdb', domain: '0', persist: true });
  const { sizeBytes, identity } = await world.host.inspect('/dev/sdb');
  crash(world);
  world.host.pullDevice('/dev/sdb');
  for (const path of ['/dev/sdy', '/dev/sdz']) world.host.addDevice({ path, sizeBytes, identity });
  await start(system);
  assert.deepEqual(await attached(world), []);
  assert.match(JSON.stringify((await checkPool(system)).problems), /\/dev\/sdy and \/dev\/sdz/);
});

test('autostart: with the first daemon of a boot, in order, then what is attached to the guest; not at other starts of the daemon', async () => {
  const world = await openScene();
  const { system } = world;
  await attachVbd(system, { source: 'vd:b', target: 'xvdb', domain: '0', mode: 'w', persist: true });
  assert.equal((await autostartDomain(system, web)).changed, true);
  assert.equal((await autostartDomain(system, web)).changed, false);
  await start(system);
  assert.equal(await world.qemu.find('web01'), null, 'not in the boot in which it was said');
  await reboot(world);
  await attachVbd(system, { source: 'vd:c', target: 'xvdc', domain: 'web01', mode: 'w', persist: true });
  await reboot(world);
  assert.deepEqual(await attached(world), ['vd:2 0/dev/xvdb w', 'vd:1 web01/dev/xvda w', 'vd:3 web01/dev/xvdc w']);
  await stopDomain(system, { name: 'web01', force: true });
  await start(system);
  assert.equal(await world.qemu.find('web01'), null, 'what was stopped stays stopped');
  await stopAutostart(system, 'web01');
  assert.equal((await stopAutostart(system, 'web01')).changed, false);
  await reboot(world);
  assert.deepEqual(await attached(world), ['vd:2 0/dev/xvdb w']);
  assert.deepEqual(await problems(world), ['VBD_NOT_ATTACHED'], 'its guest is not there');
  await detachVbd(system, { target: 'xvdc', domain: 'web01' });
  assert.deepEqual(await problems(world), []);
});

test('a domain that cannot start is told with its reason and shown by check, until it is started or given up', async () => {
  const world = await openScene();
  const { system } = world;
  await autostartDomain(system, web);
  await deleteDisk(system, { disk: 'a' });
  await reboot(world);
  assert.deepEqual(await problems(world), ['DOMAIN_NOT_STARTED']);
  assert.ok((await typesOf(world)).includes('domain.not-started'));
  await restoreDisk(system, { disk: 'a' });
  await startDomain(system, web);
  assert.deepEqual(await problems(world), []);
});

class Killed extends Error {}

/** The daemon is killed at its n-th step: from then on nothing that it calls comes back. */
function killedAt(system: System, step: number): { system: System; steps: () => number } {
  let count = 0;
  const counted = <F extends (...args: never[]) => Promise<unknown>>(call: F): F =>
    ((...args: Parameters<F>) => {
      count += 1;
      if (count > step) throw new Killed();
      return call(...args);
    }) as F;
  const catalog = {
    ...system.catalog,
    read: counted(system.catalog.read.bind(system.catalog)),
    write: counted(system.catalog.write.bind(system.catalog)),
  };
  const hypervisors = system.hypervisors.map((each) => ({
    ...each,
    plug: counted(each.plug),
    unplug: counted(each.unplug),
    start: counted(each.start),
    stop: counted(each.stop),
  }));
  const dataPaths = system.dataPaths.map((each) => ({ ...each, open: counted(each.open), close: counted(each.close) }));
  return { system: { ...system, catalog, hypervisors, dataPaths, queue: (_, body) => body() }, steps: () => count };
}

async function untilKilled(body: () => Promise<unknown>): Promise<void> {
  await body().catch((error: unknown) => {
    if (!(error instanceof Killed)) throw error;
  });
}

test('a daemon that is killed at any step after a reboot loses no promise', async () => {
  for (let step = 1, whole = false; !whole; step += 1) {
    const world = await openScene();
    await attachVbd(world.system, { source: 'vd:b', target: 'xvdb', domain: '0', mode: 'w', persist: true });
    await attachVbd(world.system, { source: 'vd:c', target: 'xvdc', domain: '0', mode: 'r', persist: true });
    await autostartDomain(world.system, web);
    crash(world);
    const killed = killedAt(world.system, step);
    await untilKilled(() => start(killed.system));
    whole = killed.steps() <= step;
    world.dataPath.restartDaemon();
    await start(world.system);
    assert.deepEqual((await attached(world)).toSorted(), ['vd:1 web01/dev/xvda w', 'vd:2 0/dev/xvdb w', 'vd:3 0/dev/xvdc r'], `killed at step ${step}`);
    assert.deepEqual(await problems(world), [], `killed at step ${step}`);
  }
});

test('a daemon that is killed at any step of the start of a domain leaves all of it or nothing', async () => {
  const two = { ...web, disks: [...web.disks, { source: 'vd:b', target: '/dev/xvdb', mode: 'r' }] };
  let undone = 0;
  for (let step = 1, whole = false; !whole; step += 1) {
    const world = await openScene();
    const killed = killedAt(world.system, step);
    await untilKilled(() => startDomain(killed.system, two));
    whole = killed.steps() <= step;
    world.dataPath.restartDaemon();
    await start(world.system);
    const runs = (await listDomains(world.system)).some(({ name }) => name === 'web01');
    assert.deepEqual(await attached(world), runs ? ['vd:1 web01/dev/xvda w', 'vd:2 web01/dev/xvdb r'] : [], `killed at step ${step}`);
    assert.equal((await vbds(world.system)).length, runs ? 2 : 0);
    assert.deepEqual(await problems(world), []);
    if (runs) continue;
    undone += 1;
    await startDomain(world.system, two);
  }
  assert.ok(undone > 5);
});

test('a start that fails leaves nothing: a disk that cannot be had, a hypervisor that refuses', async () => {
  const world = await openScene();
  const { system } = world;
  await assert.rejects(startDomain(system, { ...web, disks: [...web.disks, { source: 'vd:none', target: 'xvdb', mode: 'r' }] }), { code: 'DISK_NOT_FOUND' });
  const broken = { ...world.qemu, start: async () => Promise.reject(new Error('no memory')) };
  await assert.rejects(startDomain({ ...system, hypervisors: [broken] }, web), /no memory/);
  world.qemu.setAvailable(false);
  await assert.rejects(startDomain(system, web), { code: 'NOT_SUPPORTED', message: /turned off/ });
  assert.deepEqual([await vbds(system), await world.qemu.find('web01'), await system.catalog.read((reader) => reader.intents())], [[], null, []]);
  await attachDue(system);
  assert.deepEqual(await problems(world), []);
});
