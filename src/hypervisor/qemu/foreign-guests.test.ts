// Guests that somebody else started: two machines of QEMU with a spare QMP socket each, one of them with root ports only.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ensureGuest } from '../../../demo/guest.ts';
import { until } from '../../../test/until.ts';
import { sectors } from '../../base/units.ts';
import { openPrograms } from '../../host/programs.ts';
import type { Hypervisor, Plug } from '../hypervisor.ts';
import { Bench, Console } from './fixture.ts';
import { openQemu } from './qemu.ts';
import { connectQmp } from './qmp-connection.ts';

const MIB = 1024 * 1024;
const bench = await Bench.open();
const runFolder = join(bench.folder, 'run');
const foreignFolder = join(bench.folder, 'guests');
mkdirSync(foreignFolder);
const children: ChildProcess[] = [];
after(async () => {
  for (const child of children) child.kill('SIGKILL');
  await bench[Symbol.asyncDispose]();
});

const qemuOf = (): Hypervisor =>
  openQemu({
    runFolder,
    foreignFolder,
    programs: openPrograms({ searchPath: process.env['PATH'] ?? '' }),
    log: () => undefined,
    letGoMs: 20_000,
    footprintOf: async (path) => ({ own: [{ space: `path:${path}`, startSector: sectors(0), sectors: sectors(8) }], below: [] }),
  });

/** Started by its owner, with a disk of its own. */
async function startGuest(name: string, machine: readonly string[]): Promise<ChildProcess> {
  const image = join(bench.folder, `${name}.img`);
  await writeFile(image, new Uint8Array(MIB));
  const words = ['-nodefaults', '-no-user-config', '-display', 'none', '-accel', 'tcg', '-cpu', 'max', '-m', '192M', ...machine];
  const disk = ['-blockdev', `driver=raw,node-name=own,file.driver=file,file.filename=${image}`, '-device', 'virtio-blk-pci,drive=own'];
  const child = spawn('qemu-system-x86_64', [...words, ...disk, '-qmp', `unix:${join(foreignFolder, `${name}.sock`)},server=on,wait=off`], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  children.push(child);
  return child;
}

const plugOf = async (domain: string, generation: number): Promise<Plug> => {
  await bench.image(`disk${generation}`, 4 * MIB);
  mkdirSync(join(runFolder, String(generation)), { recursive: true });
  const endpoint = await bench.serve(`disk${generation}`, `${domain}/xvdb@${generation}`, join('run', String(generation), 'nbd.sock'));
  return { generation, domain, target: '/dev/xvdb', vdev: 51_728, mode: 'w', serial: `vd-${generation}`, endpoint };
};

test('a guest of others is a domain: it takes a disk while it runs, lets go of it, and its own disks count as used', { timeout: 240_000 }, async () => {
  const guest = await ensureGuest();
  await bench.image('root', 32 * MIB, guest.rootTree);
  const consoleSocket = join(bench.folder, 'console.sock');
  const child = await startGuest('web03', [
    ...['-machine', 'q35', '-device', 'pcie-root-port,id=port1,chassis=1', '-device', 'pcie-root-port,id=port2,chassis=2'],
    ...['-kernel', guest.kernel, '-initrd', guest.ramdisk, '-append', 'console=ttyS0 quiet root=/dev/vdb ro'],
    ...['-drive', `file=${join(bench.folder, 'root')},format=raw,if=none,id=root`],
    ...['-chardev', `socket,id=console,path=${consoleSocket},server=on,wait=off`, '-serial', 'chardev:console'],
    ...['-device', 'virtio-blk-pci,drive=root,addr=0x10'],
  ]);
  await using qemu = qemuOf();
  const stop = new AbortController();
  const ended: string[] = [];
  qemu.watchEnds((domain) => void ended.push(domain), stop.signal);
  const facts = await until('it is a domain', () => qemu.find('web03'), 60_000);
  assert.deepEqual([facts.hypervisor, facts.state, facts.id], ['qemu', 'running', String(child.pid)]);
  assert.equal((await qemu.find(String(child.pid)))?.name, 'web03');
  const used = (await qemu.foreignUsers()).map(({ kind, mode, name }) => [kind, mode, name]);
  assert.ok(used.some(([kind, mode, name]) => kind === 'vbd' && mode === 'w' && name === `${join(bench.folder, 'web03.img')} of domain web03 (not of xvd)`));

  using line = new Console(consoleSocket);
  await line.says(/guest: ready/);
  const plug = await plugOf('web03', 17);
  await qemu.plug(plug);
  await qemu.plug(plug);
  await line.says(/guest: add \/dev\/vdc 'vd-17'/);
  assert.deepEqual(await qemu.plugged(), [17]);
  assert.equal((await qemu.foreignUsers()).length, used.length, 'a VBD of ours is nobody else');
  await assert.rejects(qemu.plug({ ...plug, generation: 18 }), { code: 'TARGET_TAKEN' });
  await qemu.unplug({ generation: 17, domain: 'web03', target: '/dev/xvdb', force: false });
  await line.says(/guest: remove \/dev\/vdc/);
  assert.deepEqual(await qemu.plugged(), []);

  child.kill('SIGKILL');
  await until('its end is told', () => ended.includes('web03'));
  assert.equal(await qemu.find('web03'), null);
  stop.abort();
});

test('a guest that can not let go is busy, and by force keeps a device on which every request fails; VBDs of another xvd are left alone', async () => {
  await startGuest('web04', ['-machine', 'pc', '-S']);
  await using qemu = openQemu({
    runFolder,
    foreignFolder,
    programs: openPrograms({ searchPath: process.env['PATH'] ?? '' }),
    log: () => undefined,
    letGoMs: 500,
  });
  await until('it is a domain', () => qemu.find('web04'), 60_000);
  const plug = await plugOf('web04', 21);
  await qemu.plug(plug);
  await assert.rejects(qemu.unplug({ generation: 21, domain: 'web04', target: '/dev/xvdb', force: false }), { code: 'VBD_BUSY' });
  assert.deepEqual(await qemu.plugged(), [21]);
  await using other = openQemu({
    runFolder: join(bench.folder, 'other'),
    foreignFolder: null,
    programs: openPrograms({ searchPath: '' }),
    log: () => undefined,
  });
  assert.deepEqual(await other.plugged(), []);
  await qemu.unplug({ generation: 21, domain: 'web04', target: '/dev/xvdb', force: true });
  assert.deepEqual(await qemu.plugged(), []);
  await assert.rejects(qemu.console('web04'), { code: 'NOT_SUPPORTED' });
  await qemu.stop('web04', { force: true });
  await until('it is gone', async () => (await qemu.find('web04')) === null);
});

test('what another xvd plugged into a guest is not ours to see or to take out', async () => {
  await startGuest('web05', ['-machine', 'pc', '-S']);
  const theirs = openQemu({ runFolder, foreignFolder, programs: openPrograms({ searchPath: '' }), log: () => undefined, letGoMs: 500 });
  await until('it is a domain', () => theirs.find('web05'), 60_000);
  await theirs.plug(await plugOf('web05', 31));
  assert.deepEqual(await theirs.plugged(), [31]);
  await theirs[Symbol.asyncDispose]();
  await using mine = openQemu({
    runFolder: join(bench.folder, 'mine'),
    foreignFolder,
    programs: openPrograms({ searchPath: '' }),
    log: () => undefined,
    letGoMs: 500,
  });
  assert.deepEqual(await mine.plugged(), []);
  await mine.unplug({ generation: 31, domain: '', target: '', force: true });
  await mine[Symbol.asyncDispose]();
  using spare = await connectQmp(join(foreignFolder, 'web05.sock'));
  assert.ok(JSON.stringify(await spare.execute('query-block')).includes('vbd31'));
});
