import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import assert from 'node:assert/strict';
import { constants } from 'node:fs';
import { mkdtemp, open, readdir, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { bytes } from '../../base/units.ts';
import { CONTRACT_DEVICE_BYTES, hostContract } from '../contract.ts';
import type { HostUnderTest } from '../contract.ts';
import type { Host } from '../host.ts';
import { until } from '../../../test/until.ts';
import { openPrograms } from '../programs.ts';
import { openLinuxHost } from './open-linux-host.ts';

type Place = AsyncDisposable & { readonly host: Host; readonly folder: string; readonly file: string; loop(...args: readonly string[]): string };

async function place(sizeBytes = CONTRACT_DEVICE_BYTES): Promise<Place> {
  const folder = await mkdtemp(join(tmpdir(), 'xvd-host-'));
  const file = join(folder, 'device.img');
  const handle = await open(file, 'w');
  await handle.truncate(sizeBytes);
  await handle.close();
  const loops: string[] = [];
  return {
    host: openLinuxHost({ programs: openPrograms({ searchPath: process.env['PATH'] ?? '' }), runFolder: join(folder, 'run') }),
    folder,
    file,
    loop: (...args) => {
      const path = execFileSync('losetup', ['--find', '--show', ...args, file], { encoding: 'utf8' }).trim();
      loops.push(path);
      return path;
    },
    [Symbol.asyncDispose]: async () => {
      for (const path of loops) execFileSync('losetup', ['--detach', path]);
      await rm(folder, { recursive: true });
    },
  };
}

async function underTest(given: Place, path: string): Promise<HostUnderTest> {
  return {
    host: given.host,
    path,
    writeCached: async (offset, data) => {
      const handle = await open(path, 'r+');
      await handle.write(data, 0, data.length, offset);
      await handle.close();
    },
    [Symbol.asyncDispose]: () => given[Symbol.asyncDispose](),
  };
}

hostContract('Linux host on a file', async () => {
  const given = await place();
  return underTest(given, given.file);
});

hostContract('Linux host on a loop device', async () => {
  const given = await place();
  return underTest(given, given.loop());
});

const plan = async (host: Host, path: string) => {
  const { kind, identity, sizeBytes, path: real } = await host.inspect(path);
  return { path: real, kind, identity, sizeBytes };
};
const all = { offsetBytes: bytes(0), lengthBytes: bytes(CONTRACT_DEVICE_BYTES) };

test('settle() of a file brings down what lies in the cache of a loop device over it', async () => {
  await using given = await place();
  const loop = given.loop('--offset', '65536');
  const cached = await open(loop, 'r+');
  await cached.write(new Uint8Array(4096).fill(6), 0, 4096, 4096);
  const device = await plan(given.host, given.file);
  await given.host.settle(device, [all]);
  assert.equal((await given.host.readBytes(device, { offsetBytes: bytes(65536 + 4096), lengthBytes: bytes(1) }))[0], 6);
  await cached.close();
});

test('settle() of a loop device leaves nothing in the cache of the file behind it', async () => {
  await using given = await place();
  const loop = given.loop();
  const device = await plan(given.host, loop);
  const cached = await open(given.file, 'r+');
  await cached.write(new Uint8Array(65536).fill(6));
  await given.host.settle(device, [all]);
  const bench = await plan(given.host, given.file);
  assert.equal((await given.host.readBytes(bench, { offsetBytes: bytes(0), lengthBytes: bytes(1) }))[0], 6);
  await cached.close();
});

test('a file and a loop device over it share sectors; the loop device stands below nothing of its own', async () => {
  await using given = await place();
  const loop = given.loop('--offset', '65536', '--sizelimit', '131072');
  const file = await given.host.inspect(given.file);
  const device = await given.host.inspect(loop);
  const space = file.footprint.own[0]?.space;
  assert.deepEqual(
    device.footprint.own.filter((range) => range.space === space).map(({ startSector, sectors }) => [startSector, sectors]),
    [[128, 256]],
  );
  assert.equal(device.identity.kind, 'path', 'another file may have this number tomorrow');
  assert.equal(file.identity.kind, 'file');
});

test('users() names the loop device on a file, its mount, and the process that has it open', async () => {
  await using given = await place();
  await given.host.inspect(given.file);
  const space = (await given.host.inspect(given.file)).footprint.own[0]?.space;
  const reader = spawn('tail', ['-f', given.file], { stdio: 'ignore' });
  await once(reader, 'spawn');
  const loop = given.loop('--read-only');
  try {
    const mine = async () => (await given.host.users()).filter((user) => user.footprint.own.some((range) => range.space === space));
    const users = await until('tail has opened it', async () => {
      const found = await mine();
      return found.some(({ kind }) => kind === 'process') ? found : null;
    });
    assert.deepEqual(users.map(({ kind, mode }) => `${kind} ${mode}`).toSorted(), ['loop r', 'process r']);
    assert.match(users.find(({ kind }) => kind === 'loop')?.name ?? '', new RegExp(`^${loop} on `));
    assert.equal(users.find(({ kind }) => kind === 'process')?.name, `tail (pid ${reader.pid})`);
  } finally {
    reader.kill('SIGKILL');
    await once(reader, 'exit');
  }
});

test('users() waits for udev, which looks at a device for a moment after it was written', async () => {
  await using given = await place();
  await given.host.inspect(given.file);
  const worker = join(given.folder, '(udev-worker)');
  await symlink(execFileSync('which', ['tail'], { encoding: 'utf8' }).trim(), worker);
  const udev = spawn(worker, ['-f', given.file], { stdio: 'ignore' });
  await once(udev, 'spawn');
  try {
    await until('udev has opened it', async () => {
      const opened = await Promise.all((await readdir(`/proc/${udev.pid}/fd`)).map((fd) => readlink(`/proc/${udev.pid}/fd/${fd}`).catch(() => '')));
      return opened.includes(given.file) ? true : null;
    });
    const asked = given.host.users();
    udev.kill('SIGKILL');
    assert.deepEqual(
      (await asked).filter(({ name }) => name.includes('udev-worker')),
      [],
    );
  } finally {
    udev.kill('SIGKILL');
  }
});

test('users() tells a writable mount from a read-only one', async () => {
  await using given = await place();
  execFileSync('mkfs.ext4', ['-q', given.file]);
  const space = (await given.host.inspect(given.file)).footprint.own[0]?.space;
  const point = join(given.folder, 'mnt of mine');
  execFileSync('mkdir', [point]);
  for (const [option, mode] of [
    ['rw', 'w'],
    ['ro', 'r'],
  ] as const) {
    execFileSync('mount', ['-o', `loop,${option}`, given.file, point]);
    try {
      const mounts = (await given.host.users()).filter((user) => user.kind === 'mount' && user.footprint.own.some((range) => range.space === space));
      assert.deepEqual(
        mounts.map((user) => [user.name, user.mode]),
        [[point, mode]],
      );
    } finally {
      execFileSync('umount', [point]);
    }
  }
  assert.deepEqual((await given.host.inspect(given.file)).signatures, ['ext4']);
});

test('inspect() follows links, tells sparse files, and that the root filesystem is the system (F20)', async () => {
  await using given = await place();
  await symlink(given.file, join(given.folder, 'link'));
  const facts = await given.host.inspect(join(given.folder, 'link'));
  assert.equal(facts.path, given.file);
  assert.equal(facts.sparse, true);
  assert.equal(facts.holdsSystem, false);
  assert.deepEqual(facts.signatures, []);
  await writeFile(given.file, new Uint8Array(CONTRACT_DEVICE_BYTES).fill(1));
  execFileSync('sync', [given.file]);
  assert.equal((await given.host.inspect(given.file)).sparse, false);
});

test('what the kernel holds for somebody who shows nowhere else is a writer', async () => {
  await using given = await place();
  const loop = given.loop();
  const { footprint } = await given.host.inspect(loop);
  const space = footprint.own[0]?.space;
  const mine = async () =>
    (await given.host.users()).filter((user) => user.footprint.own.some((range) => range.space === space)).map(({ kind, mode }) => `${kind} ${mode}`);
  assert.deepEqual(await mine(), []);
  const held = await open(loop, constants.O_RDONLY | constants.O_EXCL); // this process itself is left out
  assert.deepEqual(await mine(), ['holder w']);
  await held.close();
});

test('zero() keeps to its budget', async () => {
  await using given = await place();
  const host = openLinuxHost({ programs: openPrograms({ searchPath: '' }), runFolder: given.folder, wipeBytesPerSecond: 64 * CONTRACT_DEVICE_BYTES });
  const device = await plan(host, given.file);
  const told: number[] = [];
  await host.zero(device, [all], (done) => void told.push(done));
  assert.equal(told.at(-1), CONTRACT_DEVICE_BYTES);
});

test('a process that closed the file and kept a shared mapping of it is a writer', async () => {
  await using given = await place();
  const space = (await given.host.inspect(given.file)).footprint.own[0]?.space;
  const script = `const fs = process.getBuiltinModule('fs'); const koffi = require('koffi'); const fd = fs.openSync(process.argv[1], 'r+');
    koffi.load(null).func('void *mmap(void *a, size_t l, int p, int f, int fd, int64_t o)')(null, 4096, 3, 1, fd, 0); fs.closeSync(fd); console.log('mapped'); setInterval(() => {}, 1 << 30);`;
  const mapper = spawn(process.execPath, ['-e', script, given.file], { stdio: ['ignore', 'pipe', 'inherit'], cwd: import.meta.dirname });
  try {
    await once(mapper.stdout, 'data');
    const users = (await given.host.users()).filter((user) => user.footprint.own.some((range) => range.space === space));
    assert.deepEqual(
      users.map(({ kind, mode, name }) => [kind, mode, name.includes(`(pid ${mapper.pid})`)]),
      [['process', 'w', true]],
    );
  } finally {
    mapper.kill('SIGKILL');
    await once(mapper, 'exit');
  }
});

test('I7: identity is checked on the open descriptor, whatever the path leads to by then', async () => {
  await using here = await place();
  const { path, kind, identity, sizeBytes } = await here.host.inspect(here.file);
  const right = await open(here.file, 'r');
  const other = join(here.folder, 'other.img');
  await writeFile(other, new Uint8Array(CONTRACT_DEVICE_BYTES));
  const wrong = await open(other, 'r');
  try {
    await here.host.verify({ path, kind, identity, sizeBytes }, right.fd);
    await assert.rejects(here.host.verify({ path, kind, identity, sizeBytes }, wrong.fd), { code: 'DEVICE_IDENTITY_MISMATCH' });
    await here.host.verify({ path, kind, identity, sizeBytes });
  } finally {
    await right.close();
    await wrong.close();
  }
});
