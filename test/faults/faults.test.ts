// The faults of the original (shared spec, section 3), each shown to be gone through the product: its use cases on a simulated
// host. F7, F8, F9 and F20 are shown on real devices beside the Linux host, F12 by the fence and the simulation too.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { attachVbd } from '../../src/app/attach-vbd.ts';
import { checkPool } from '../../src/app/check-pool.ts';
import { createDisk } from '../../src/app/create-disk.ts';
import { deleteDisk } from '../../src/app/delete-disk.ts';
import { detachVbd } from '../../src/app/detach-vbd.ts';
import { extentsOf } from '../../src/app/extents-of.ts';
import { formatDevice } from '../../src/app/format-device.ts';
import { listDevices } from '../../src/app/list-devices.ts';
import { listDisks } from '../../src/app/list-disks.ts';
import { refreshDisk } from '../../src/app/refresh-disk.ts';
import { showDisk } from '../../src/app/show-disk.ts';
import { startDomain } from '../../src/app/start-domain.ts';
import type { System } from '../../src/app/system.ts';
import { vbds } from '../../src/app/vbds.ts';
import { XvdError } from '../../src/base/error.ts';
import type { ErrorCode } from '../../src/base/error.ts';
import { MIB, sectors } from '../../src/base/units.ts';
import { faultyHypervisor } from '../../src/hypervisor/fake/faulty-hypervisor.ts';
import { openWorld } from '../sim/world.ts';
import type { World } from '../sim/world.ts';

/** /dev/sda has 8 extents of 1 MiB. */
function onPool(says: string, body: (world: World, system: System) => Promise<void>): void {
  test(says, async () => {
    const world = await openWorld();
    await formatDevice(world.system, { device: '/dev/sda', extentBytes: MIB });
    await body(world, world.system);
    assert.deepEqual((await checkPool(world.system)).problems, []);
  });
}

const fails = (work: Promise<unknown>, ...codes: readonly ErrorCode[]): Promise<void> =>
  assert.rejects(work, (error) => error instanceof XvdError && codes.includes(error.code) && error.exit !== 0);
const create = (system: System, mib: number, expiresInMs: number | null = null) => createDisk(system, { sizeBytes: mib * MIB, expiresInMs });
const write = (system: System, disk: string, domain = 'web01', target = 'xvda') => attachVbd(system, { source: disk, target, domain, mode: 'w' });

onPool('F1: the extents of a disk of several pieces come back in the order in which it is read', async ({ dataPath }, system) => {
  for (let index = 0; index < 4; index += 1) await create(system, 2);
  for (const disk of ['3', '1']) await deleteDisk(system, { disk });
  const { uname } = await create(system, 4);
  const { generation } = await write(system, uname);
  for (let mib = 0; mib < 4; mib += 1) dataPath.write(generation, mib * MIB, new Uint8Array(4096).fill(mib + 1));
  dataPath.flush(generation);
  const places = (await extentsOf(system, uname)).flatMap(({ device, startSector, sectors: count }) =>
    Array.from({ length: count / 2048 }, (_, index) => ({ device, at: startSector * 512 + index * MIB })),
  );
  assert.ok((await extentsOf(system, uname)).length > 1);
  const { identity, sizeBytes } = await system.host.inspect('/dev/sda');
  const marks = [];
  for (const { device, at } of places)
    marks.push(
      (await system.host.readBytes({ path: device, kind: 'block', identity, sizeBytes }, { offsetBytes: at as never, lengthBytes: 4096 as never }))[0],
    );
  assert.deepEqual(marks, [1, 2, 3, 4]);
});

onPool('F2: two partitions of one drive are two devices, and extents lie inside their own', async ({ host }, system) => {
  for (const [path, start] of [
    ['/dev/sdx1', 2048],
    ['/dev/sdx2', 30_720],
  ] as const) {
    const footprint = { own: [{ space: 'drive:9:0', startSector: sectors(start), sectors: sectors(8 * 2048) }], below: [] };
    host.addDevice({ path, sizeBytes: 8 * MIB, drivePath: '/dev/sdx', driveStartSector: sectors(start), footprint });
    await formatDevice(system, { device: path, extentBytes: MIB, pool: 'parts' });
  }
  const { uname } = await createDisk(system, { sizeBytes: 12 * MIB, pool: 'parts' });
  const extents = await extentsOf(system, uname);
  assert.equal(
    extents.reduce((sum, extent) => sum + extent.sectors, 0),
    12 * 2048,
  );
  for (const { device, startSector, sectors: count } of extents) {
    assert.equal(device, '/dev/sdx');
    assert.ok(
      [2048, 30_720].some((start) => startSector >= start + 2048 && startSector + count <= start + 7 * 2048),
      `${startSector} ${count}`,
    );
  }
});

onPool('F3: a mount that lies wholly inside of what is attached counts', async ({ host }, system) => {
  const footprint = { own: [{ space: 'drive:8:16', startSector: sectors(4096), sectors: sectors(8) }], below: [] };
  host.setUsers([{ kind: 'mount', name: '/mnt', mode: 'r', footprint }]);
  await fails(write(system, 'phy:sdb'), 'SHARING_REFUSED');
});

onPool('F4: an expired disk that is attached keeps its extents until its VBD has ended', async (world, system) => {
  const { uname } = await create(system, 6, 1000);
  const { generation } = await write(system, uname);
  world.advance(2000);
  assert.equal((await showDisk(system, '1')).state, 'expired');
  await fails(create(system, 4), 'POOL_FULL');
  world.dataPath.write(generation, 0, new Uint8Array(4096).fill(7));
  assert.equal((await listDevices(system))[0]?.reservedBytes, 6 * MIB);
  await detachVbd(system, { target: 'xvda', domain: 'web01' });
  const next = await create(system, 8);
  const vbd = await write(system, next.uname);
  assert.ok(
    world.dataPath.read(vbd.generation, 0, 8 * MIB).every((byte) => byte === 0),
    'F12',
  );
});

onPool('F5: refresh revives nothing; disk 0 and disks that do not exist are errors', async (world, system) => {
  await create(system, 8, 1000);
  world.advance(2000);
  await fails(refreshDisk(system, { disk: '1' }), 'DISK_EXPIRED');
  await create(system, 4);
  await fails(refreshDisk(system, { disk: '1' }), 'DISK_EXPIRED', 'DISK_RECLAIMED');
  for (const disk of ['0', 'vd:0', '99', 'nobody']) {
    await fails(Promise.try(refreshDisk, system, { disk }), 'DISK_NOT_FOUND');
    await fails(Promise.try(deleteDisk, system, { disk }), 'DISK_NOT_FOUND');
  }
});

onPool('F6: creates at the same time share no extent, attaches at the same time do not both write', async (_, system) => {
  const made = await Promise.allSettled(Array.from({ length: 6 }, () => create(system, 2)));
  assert.equal(made.filter(({ status }) => status === 'fulfilled').length, 4);
  const both = await Promise.allSettled([write(system, 'vd:1', 'web01'), write(system, 'vd:1', 'web02')]);
  assert.deepEqual(both.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected']);
});

onPool('F10: size 0, negative and broken sizes are refused, and text is never SQL', async (_, system) => {
  for (const sizeBytes of [0, -1, -4096, Number.NaN, Infinity, 0.5, 2 ** 60]) await fails(createDisk(system, { sizeBytes }), 'VALUE_INVALID', 'LIMIT_REACHED');
  await fails(createDisk(system, { sizeBytes: MIB, name: "x'); DROP TABLE disk; --" }), 'VALUE_INVALID');
  assert.deepEqual(await listDisks(system, { which: 'all' }), []);
});

onPool('F11: an attach that fails half-way leaves no VBD', async ({ qemu }, system) => {
  await create(system, 2);
  const broken = faultyHypervisor(qemu, (call) => (call === 'plug' ? { error: new XvdError('HYPERVISOR_FAILED', 'no'), after: true } : null));
  const failing: System = { ...system, hypervisors: [broken] };
  await fails(write(failing, 'vd:1'), 'HYPERVISOR_FAILED');
  assert.deepEqual(await vbds(system), []);
  assert.equal(qemu.endpoints().size, 0);
  await write(system, 'vd:1');
});

onPool('F13: a clock that jumps to 2099 or 1970 expires nothing and frees nothing', async ({ time }, system) => {
  await create(system, 8, 3_600_000);
  for (const year of [2099, 1970]) {
    time.wallMs = Date.UTC(year, 0, 1);
    assert.equal((await listDisks(system))[0]?.state, 'live');
    await fails(create(system, 1), 'POOL_FULL');
  }
  time.wallMs = Date.UTC(2026, 10, 23);
});

onPool('F14: a VBD is exactly as large as its disk, not as its extents', async ({ dataPath }, system) => {
  await createDisk(system, { sizeBytes: MIB + 4096 });
  const { generation, sizeBytes } = await write(system, 'vd:1');
  assert.equal(sizeBytes, MIB + 4096);
  assert.throws(() => dataPath.read(generation, MIB, 8192));
  assert.equal((await extentsOf(system, 'vd:1')).reduce((sum, extent) => sum + extent.sectors, 0) * 512, MIB + 4096);
});

onPool('F15: the expert level that is set is the one that counts', async (_, system) => {
  await create(system, 2);
  await write(system, 'vd:1');
  const again = (expert: 0 | 1 | 2) => attachVbd(system, { source: 'vd:1', target: 'xvdb', domain: 'web02', mode: 'w', expert });
  await fails(again(0), 'SHARING_REFUSED');
  await fails(again(1), 'SHARING_REFUSED');
  assert.equal((await again(2)).sharing, 2);
});

onPool('F16: in the second in which it expires a disk is in exactly one of the two lists', async (world, system) => {
  await create(system, 2, 1000);
  for (const [passed, expired] of [
    [999, 0],
    [1, 1],
    [1, 1],
    [999, 1],
  ] as const) {
    world.advance(passed);
    assert.equal((await listDisks(system, { which: 'expired' })).length, expired);
    assert.equal((await listDisks(system, { which: 'living' })).length, 1 - expired);
  }
});

onPool('F17: refresh without an expiry means never', async (_, system) => {
  await create(system, 2, 1000);
  const refreshed = await refreshDisk(system, { disk: '1' });
  assert.deepEqual([refreshed.expiresAt, refreshed.changed], [null, true]);
});

onPool('F18: an expired or unknown disk, an unknown device or kind is refused, and nothing is attached', async (world, system) => {
  await create(system, 2, 1000);
  world.advance(1000);
  await fails(write(system, 'vd:1'), 'DISK_EXPIRED');
  await fails(write(system, 'vd:99'), 'DISK_NOT_FOUND');
  await fails(write(system, 'phy:nothing'), 'DEVICE_NOT_FOUND');
  await fails(write(system, 'nfs:x'), 'VALUE_INVALID');
  assert.deepEqual(await vbds(system), []);
});

onPool('F19: a device under another name is in the pool already; a partition of it is refused', async ({ host }, system) => {
  const facts = await system.host.inspect('/dev/sda');
  const { space, startSector } = facts.footprint.own[0] ?? assert.fail();
  host.addDevice({
    path: '/dev/sda1',
    sizeBytes: 4 * MIB,
    footprint: { own: [{ space, startSector: sectors(startSector + 2048), sectors: sectors(8192) }], below: [] },
  });
  assert.equal((await formatDevice(system, { device: 'sda' })).changed, false);
  await fails(formatDevice(system, { device: '/dev/sda1', extentBytes: MIB, force: true }), 'DEVICE_OVERLAPS_POOL');
  assert.equal((await listDevices(system)).length, 1);
});

onPool('F9: a pool device is never attached as phy:, at no expert level; swap and holders count as use', async ({ host }, system) => {
  await fails(attachVbd(system, { source: 'phy:sda', target: 'xvda', domain: 'web01', expert: 2 }), 'DEVICE_OVERLAPS_POOL', 'SHARING_REFUSED');
  const { footprint } = await system.host.inspect('/dev/sdb');
  for (const kind of ['swap', 'holder', 'loop', 'process'] as const) {
    host.setUsers([{ kind, name: 'someone', mode: 'w', footprint }]);
    await fails(attachVbd(system, { source: 'phy:sdb', target: 'xvda', domain: 'web01' }), 'SHARING_REFUSED');
  }
});

onPool('F21: what fails is an error with an exit status: domain start, refresh, delete, attach, detach', async (_, system) => {
  const description = { name: 'web09', kernel: '/boot/vmlinuz', memory: '64M', disks: [{ source: 'vd:9', target: 'xvda', mode: 'w' }] };
  await fails(startDomain(system, description), 'DISK_NOT_FOUND');
  await fails(refreshDisk(system, { disk: '9' }), 'DISK_NOT_FOUND');
  await fails(deleteDisk(system, { disk: '9' }), 'DISK_NOT_FOUND');
  await fails(write(system, 'vd:9'), 'DISK_NOT_FOUND');
  await fails(detachVbd(system, { target: 'xvda', domain: 'web01' }), 'VBD_NOT_FOUND');
});
