// What a guest goes through while it keeps its disks: boots from a disk without a kernel, is paused, is reset. The guest is one
// boot sector that says a word on the serial line and halts.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { openPrograms } from '../../host/programs.ts';
import { bootSector } from './fixture-boot-sector.ts';
import { domainFolder } from './domain-folder.ts';
import { Bench, Console } from './fixture.ts';
import { openQemu } from './qemu.ts';
import { connectQmp } from './qmp-connection.ts';

const programs = openPrograms({ searchPath: process.env['PATH'] ?? '' });

test('a guest without a kernel boots from its disk, and keeps it while it is paused and reset', { timeout: 120_000 }, async () => {
  await using bench = await Bench.open();
  await bench.image('boot.img', 2 ** 20);
  const image = await open(join(bench.folder, 'boot.img'), 'r+');
  await image.write(bootSector('guest-lives'));
  await image.close();
  const socket = join(bench.folder, 'console.sock');
  const plug = {
    generation: 7,
    domain: 'web01',
    target: '/dev/xvda',
    vdev: 51712,
    mode: 'w',
    serial: 'vd-1',
    endpoint: await bench.serve('boot.img', 'boot'),
  } as const;
  const options = { runFolder: join(bench.folder, 'run'), programs, log: () => undefined };
  const description = { name: 'web01', firmware: 'bios', memory: '64M', console: `unix:${socket}`, disks: [] };
  await mkdir(options.runFolder);
  const withQmp = async (...commands: readonly string[]): Promise<void> => {
    using qmp = await connectQmp(domainFolder(options.runFolder, 'web01').qmpSocket);
    for (const command of commands) await qmp.execute(command);
  };
  try {
    await using first = openQemu(options);
    await first.start(description, [plug]);
    using listener = new Console(await first.console('web01'));
    await listener.says(/guest-lives/);
    await first[Symbol.asyncDispose]();
    await withQmp('stop');
    {
      await using second = openQemu(options);
      assert.deepEqual([(await second.find('web01'))?.state, await second.plugged()], ['paused', [7]]);
    }
    await withQmp('cont', 'system_reset');
    await listener.says(/guest-lives[^]*guest-lives/);
    await using third = openQemu(options);
    assert.deepEqual([(await third.find('web01'))?.state, await third.plugged()], ['running', [7]]);
  } finally {
    await using last = openQemu(options);
    await last.stop('web01', { force: true }).catch(() => undefined);
  }
  assert.ok(!existsSync(socket), 'the socket of the console goes with the guest');
});

test('a firmware that is not there, and a console that would replace a file, are refused before anything starts', async () => {
  await using bench = await Bench.open();
  const file = join(bench.folder, 'precious');
  await writeFile(file, 'kept');
  await using qemu = openQemu({ runFolder: join(bench.folder, 'run'), programs, log: () => undefined });
  const description = { name: 'web01', memory: '64M', disks: [] };
  await assert.rejects(qemu.start({ ...description, firmware: join(bench.folder, 'none') }, []), { code: 'FILE_NOT_FOUND' });
  await assert.rejects(qemu.start({ ...description, firmware: 'bios', console: `unix:${file}` }, []), { code: 'VALUE_INVALID', message: /precious/ });
  assert.deepEqual(await qemu.domains(), []);
  assert.ok(existsSync(file));
});
