// The data path contract on a real device-mapper, and what is device-mapper's own: run by dm-data-path.sh in the lab.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
  fsyncSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { holdersOf } from '../../../src/app/holders-of.ts';
import { bytes, MIB } from '../../../src/base/units.ts';
import type { Endpoint, PlanDevice, VbdPlan } from '../../../src/core/types.ts';
import { CONTRACT_DEVICE_BYTES, contractPlan, dataPathContract } from '../../../src/datapath/contract.ts';
import type { DataPathUnderTest, GuestEnd } from '../../../src/datapath/contract.ts';
import type { DataPath } from '../../../src/datapath/datapath.ts';
import { dmLacks, openDmDataPath } from '../../../src/datapath/dm/dm-data-path.ts';
import type { Host } from '../../../src/host/host.ts';
import { openLinuxHost } from '../../../src/host/linux/open-linux-host.ts';
import { openPrograms } from '../../../src/host/programs.ts';
import { openSyscalls } from '../../../src/host/syscalls.ts';

const catalogId = '1a2b3c4d-0000-4000-8000-000000000001';
const programs = openPrograms({ searchPath: process.env['PATH'] ?? '' });
const syscalls = openSyscalls();
assert.ok(syscalls !== null);
const scratch = syscalls.alignedMemory(MIB);
assert.ok(scratch !== null);
const memory: Uint8Array = scratch;

type World = DataPathUnderTest & { readonly host: Host; readonly logged: string[] };

const run = (program: string, ...args: readonly string[]): string => execFileSync(program, args, { encoding: 'utf8' });
const codeIs = (code: string) => (error: unknown) => (error as { code?: string }).code === code;

async function world(deviceBytes = CONTRACT_DEVICE_BYTES): Promise<World> {
  const folder = mkdtempSync('/var/tmp/xvd-dm-');
  const host = openLinuxHost({ programs, runFolder: folder, ownDmPrefix: async () => `XVD-${catalogId}-` });
  const devices: PlanDevice[] = ['a', 'b'].map((name) => {
    writeFileSync(join(folder, name), Buffer.alloc(deviceBytes, 0xee));
    const path = run('losetup', '--find', '--show', join(folder, name)).trim();
    return { path, kind: 'block', identity: { kind: 'path', path }, sizeBytes: bytes(deviceBytes) };
  });
  const logged: string[] = [];
  const guests: GuestEnd[] = [];
  const open = (): DataPath =>
    openDmDataPath({
      catalogId: async () => catalogId,
      programs,
      verify: (device, fd) => host.verify(device, fd),
      syscalls,
      holdersOf: (path) => holdersOf({ host }, path),
      log: (event) => void logged.push(event),
    });
  const dataPath = open();
  return {
    host,
    logged,
    dataPath,
    devices,
    connect: async (endpoint) => {
      run('udevadm', 'settle'); // it reads what it sees for the first time
      const guest = guestEnd(pathOf(endpoint));
      guests.push(guest);
      return guest;
    },
    contentOf: async (path) => readDirect(path, deviceBytes),
    nextDaemon: async () => open(),
    async [Symbol.asyncDispose]() {
      for (const guest of guests) await guest.end();
      for (const generation of await dataPath.list()) await dataPath.close(generation);
      for (const { path } of devices) run('losetup', '--detach', path);
      rmSync(folder, { recursive: true });
    },
  };
}

function pathOf(endpoint: Endpoint): string {
  assert.ok(endpoint.kind === 'block');
  return endpoint.path;
}

const direct = (path: string, access: number): number => openSync(path, access | constants.O_DIRECT);

function readDirect(path: string, length: number): Uint8Array {
  const fd = direct(path, constants.O_RDONLY);
  try {
    assert.equal(readSync(fd, memory, 0, length, 0), length);
    return memory.slice(0, length);
  } finally {
    closeSync(fd);
  }
}

/** As a guest's kernel does it: around the host's cache, and never beyond the end of the device. */
function guestEnd(path: string): GuestEnd {
  const writable = readFileSync(`/sys/dev/block/${numberOf(path)}/ro`, 'utf8').trim() === '0';
  const fd = direct(path, writable ? constants.O_RDWR : constants.O_RDONLY);
  const size = Number(run('blockdev', '--getsize64', path));
  let open = true;
  const inside = (offset: number, length: number): void => assert.ok(offset + length <= size, 'beyond the end');
  return {
    async read(offset, length) {
      inside(offset, length);
      assert.equal(readSync(fd, memory, 0, length, offset), length);
      return memory.slice(0, length);
    },
    async write(offset, data) {
      inside(offset, data.length);
      memory.set(data);
      assert.equal(writeSync(fd, memory, 0, data.length, offset), data.length);
    },
    flush: async () => fsyncSync(fd),
    async end() {
      if (open) closeSync(fd);
      open = false;
    },
  };
}

function numberOf(path: string): string {
  return run('stat', '-L', '-c', '%Hr:%Lr', path).trim();
}

test('device-mapper is here', () => assert.equal(dmLacks(programs), null));

dataPathContract('dm', world);

test('readers get a device that the kernel keeps from being written, and nobody gets one that discards', async () => {
  await using under = await world();
  const path = pathOf(await under.dataPath.open(contractPlan(under.devices, { mode: 'r' })));
  assert.throws(() => run('dd', 'if=/dev/zero', `of=${path}`, 'bs=4k', 'count=1', 'oflag=direct'));
  assert.throws(() => run('blkdiscard', '-f', path));
  await under.dataPath.close(7);
  const writable = pathOf(await under.dataPath.open(contractPlan(under.devices)));
  assert.throws(() => run('blkdiscard', '-f', writable));
  assert.equal(under.logged.length, 0);
});

test('its UUID is the catalog and the generation; those of other catalogs are nobody’s business here', async () => {
  await using under = await world();
  await under.dataPath.open(contractPlan(under.devices));
  assert.match(run('dmsetup', 'info', '-c', '--noheadings', '-o', 'uuid', 'xvd-web01-xvda@7.1a2b3c4d'), new RegExp(`^XVD-${catalogId}-7`));
  const [device] = under.devices;
  run('dmsetup', 'create', 'foreign', '--uuid', 'XVD-9a2b3c4d-0000-4000-8000-000000000001-8', '--table', `0 8 linear ${device?.path} 0`);
  try {
    assert.deepEqual(await under.dataPath.list(), [7]);
    await under.dataPath.close(8);
    assert.ok(existsSync('/dev/mapper/foreign'));
  } finally {
    run('dmsetup', 'remove', 'foreign');
  }
});

test('5,000 targets in one table', async () => {
  await using under = await world(48 * MIB);
  const count = 5_000;
  // Every second page, so that no two are neighbours.
  const segments = Array.from({ length: count }, (_, index) => ({ deviceIndex: 0, offsetBytes: bytes((count - 1 - index) * 8192), lengthBytes: bytes(4096) }));
  const plan: VbdPlan = contractPlan(under.devices, { segments, sizeBytes: bytes(count * 4096) });
  const started = performance.now();
  const path = pathOf(await under.dataPath.open(plan));
  const opened = performance.now();
  assert.equal(run('dmsetup', 'table', path).trim().split('\n').length, count);
  assert.deepEqual(await under.dataPath.open(plan), { kind: 'block', path }, 'and taken over');
  const guest = await under.connect({ kind: 'block', path }, 7);
  await guest.write(4096 * 4_998, new Uint8Array(8192).fill(7));
  await guest.end();
  const file = readDirect(under.devices[0]?.path ?? '', 16384);
  assert.deepEqual([file[0], file[4096], file[8192], file[12288]], [7, 0xee, 7, 0xee]);
  await under.dataPath.close(7);
  process.stdout.write(`# 5,000 targets: made in ${Math.round(opened - started)} ms\n`);
});

test('what a killed creation left is found by its UUID, was never reachable, and is removed or made', async () => {
  await using under = await world();
  run('dmsetup', 'create', 'xvd-web01-xvda@7.1a2b3c4d', '--uuid', `XVD-${catalogId}-7`, '--notable');
  assert.deepEqual(await under.dataPath.list(), [7]);
  assert.equal(await under.dataPath.isGone(7), false, 'the one that makes it may still be there');
  await under.dataPath.close(7);
  assert.deepEqual(await under.dataPath.list(), []);
  run('dmsetup', 'create', 'xvd-web01-xvda@7.1a2b3c4d', '--uuid', `XVD-${catalogId}-7`, '--notable');
  const guest = await under.connect(await under.dataPath.open(contractPlan(under.devices)), 7);
  assert.equal((await guest.read(0, 512))[0], 0xee);
  await guest.end();
});

test('one whose table was loaded and never live is removed or made, too', async () => {
  await using under = await world();
  const plan = contractPlan(under.devices);
  const leave = (): void => {
    run('dmsetup', 'create', 'xvd-web01-xvda@7.1a2b3c4d', '--uuid', `XVD-${catalogId}-7`, '--notable');
    run('dmsetup', 'load', 'xvd-web01-xvda@7.1a2b3c4d', '--table', `0 ${plan.sizeBytes / 512} linear ${under.devices[0]?.path ?? ''} 0`);
  };
  leave();
  assert.deepEqual(await under.dataPath.list(), [7]);
  assert.equal(await under.dataPath.isGone(7), false);
  await under.dataPath.close(7);
  assert.deepEqual(await under.dataPath.list(), []);
  leave();
  const guest = await under.connect(await under.dataPath.open(plan), 7);
  assert.equal((await guest.read(0, 512))[0], 0xee);
  await guest.end();
});

test('one that was left suspended is resumed when it is taken over, and ends when it is closed', async () => {
  await using under = await world();
  const plan = contractPlan(under.devices);
  const path = pathOf(await under.dataPath.open(plan));
  run('dmsetup', 'suspend', '--nolockfs', '--noflush', path);
  run('dmsetup', 'load', path, '--table', `0 ${plan.sizeBytes / 512} error`);
  await under.dataPath.open(plan);
  const guest = await under.connect({ kind: 'block', path }, 7);
  assert.equal((await guest.read(0, 512))[0], 0xee);
  run('dmsetup', 'suspend', '--nolockfs', '--noflush', path);
  await under.dataPath.close(7);
  assert.equal(await under.dataPath.isGone(7), true);
  await assert.rejects(guest.read(0, 512));
  await guest.end();
});

test('revoked under a mounted filesystem that is being written: fenced at once, nothing lands later, gone when its holder goes', async () => {
  await using under = await world(48 * MIB);
  const plan = contractPlan(under.devices, {
    segments: [{ deviceIndex: 0, offsetBytes: bytes(MIB), lengthBytes: bytes(40 * MIB) }],
    sizeBytes: bytes(40 * MIB),
  });
  const path = pathOf(await under.dataPath.open(plan));
  run('mkfs.ext4', '-q', path);
  run('mount', path, '/mnt');
  // Dirty pages and writes under way.
  const writer = spawn('sh', ['-c', 'while dd if=/dev/urandom of=/mnt/file bs=64k count=200 conv=notrunc; do :; done'], { stdio: 'ignore' });
  const ended = new Promise((resolve) => writer.once('exit', resolve));
  try {
    for (let round = 0; !existsSync('/mnt/file') || round < 20; round += 1) run('sync', '-f', '/mnt');
    await under.dataPath.close(7);
    assert.equal(await under.dataPath.isGone(7), true);
    assert.deepEqual(await under.dataPath.list(), []);
    const [device] = under.devices;
    assert.ok(device !== undefined);
    // Steps 2 and 3 of the fence: written back, and no page of any node over them in memory, or this throws.
    await under.host.settle(device, [{ offsetBytes: bytes(MIB), lengthBytes: bytes(40 * MIB) }]);
    // The next owner of the sectors.
    run('dd', 'if=/dev/zero', `of=${device.path}`, 'bs=1M', 'count=48', 'oflag=direct', 'status=none');
    run('sync');
    assert.equal(run('cmp', '-n', String(48 * MIB), device.path, '/dev/zero'), '');
  } finally {
    writer.kill('SIGKILL');
    await ended;
    run('umount', '-l', '/mnt');
  }
  const left = (): readonly string[] => readdirSync('/dev/mapper').filter((name) => name.includes('@7.'));
  run('udevadm', 'settle');
  for (let round = 0; round < 200 && left().length > 0; round += 1) run('sleep', '0.1');
  assert.deepEqual(left(), []);
});

test('a device that the kernel holds for somebody else is refused, naming who', async () => {
  await using under = await world(48 * MIB);
  const [device] = under.devices;
  assert.ok(device !== undefined);
  run('mkfs.ext4', '-q', device.path);
  run('mount', device.path, '/mnt');
  try {
    const plan = contractPlan([device], { segments: [{ deviceIndex: 0, offsetBytes: bytes(MIB), lengthBytes: bytes(96 * 1024) }] });
    await assert.rejects(under.dataPath.open(plan), (error: unknown) => codeIs('DEVICE_IN_USE')(error) && /mount \/mnt/.test((error as Error).message));
    assert.deepEqual(await under.dataPath.list(), []);
  } finally {
    run('umount', '/mnt');
  }
});
