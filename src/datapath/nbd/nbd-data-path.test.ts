import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { bytes, MIB } from '../../base/units.ts';
import type { VbdPlan } from '../../core/types.ts';
import { openSyscalls } from '../../host/syscalls.ts';
import type { DataPath } from '../datapath.ts';
import { openNbdDataPath } from './nbd-data-path.ts';
import { livingProcesses } from './process-records.ts';
import { vbdFolder } from './vbd-folder.ts';

const run = promisify(execFile);
const connectionProgram = join(import.meta.dirname, 'connection.ts');
type World = {
  readonly folder: string;
  readonly plan: VbdPlan;
  readonly dataPath: DataPath;
  readonly uri: string;
  readonly devices: readonly [string, string];
};

function openPath(folder: string): DataPath {
  return openNbdDataPath({ runFolder: folder, connectionProgram, nodePath: process.execPath, verify: async () => {}, syscalls: openSyscalls(), log: () => {} });
}

/** A VBD of 12 MiB in four runs out of order on two files, with a MiB of somebody else's bytes around each. */
async function world(t: TestContext, mode: 'r' | 'w' = 'w'): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-nbd-'));
  const devices = [join(folder, 'a'), join(folder, 'b')] as const;
  for (const path of devices) writeFileSync(path, Buffer.alloc(16 * MIB, 0xee));
  const segment = (deviceIndex: number, offset: number, length: number) => ({
    deviceIndex,
    offsetBytes: bytes(offset * MIB),
    lengthBytes: bytes(length * MIB),
  });
  const plan: VbdPlan = {
    generation: 17,
    exportName: 'web01/xvda@17',
    mode,
    sizeBytes: bytes(12 * MIB),
    blockBytes: 512,
    cache: 'writeback',
    devices: devices.map((path) => ({ path, kind: 'file', identity: { kind: 'path', path }, sizeBytes: bytes(16 * MIB) })),
    segments: [segment(1, 9, 4), segment(0, 3, 2), segment(1, 1, 5), segment(0, 12, 1)],
  };
  const dataPath = openPath(folder);
  const endpoint = await dataPath.open(plan);
  assert.equal(endpoint.kind, 'nbd');
  t.after(async () => {
    await dataPath.close(17);
    await dataPath[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  });
  return { folder, plan, dataPath, uri: endpoint.kind === 'nbd' ? endpoint.uri : '', devices };
}

/** The bytes of the VBD as the devices hold them. */
function bytesOf({ plan, devices }: World): Buffer {
  const files = devices.map((path) => readFileSync(path));
  return Buffer.concat(
    plan.segments.map(({ deviceIndex, offsetBytes, lengthBytes }) => (files[deviceIndex] ?? Buffer.alloc(0)).subarray(offsetBytes, offsetBytes + lengthBytes)),
  );
}

function pattern(): Buffer {
  const data = Buffer.alloc(12 * MIB);
  for (let at = 0; at < data.length; at += 4) data.writeUInt32LE((at * 2654435761) >>> 0, at);
  return data;
}

test('real clients see size, name and flags', async (t) => {
  const { uri } = await world(t);
  const info = JSON.parse((await run('nbdinfo', ['--json', uri])).stdout) as { exports: Record<string, unknown>[] };
  const [exported] = info.exports;
  assert.equal(exported?.['export-name'], 'web01/xvda@17');
  assert.equal(exported?.['export-size'], 12 * MIB);
  assert.equal(exported?.['is_read_only'], false);
  assert.equal(exported?.['can_multi_conn'], true);
  assert.match((await run('nbdinfo', ['--list', uri])).stdout, /web01\/xvda@17/);
});

test('F1, F2, F14: what is written lies in the order of the disk, inside its runs, and nowhere else', async (t) => {
  const here = await world(t);
  const image = join(here.folder, 'image');
  writeFileSync(image, pattern());
  await run('nbdcopy', [image, here.uri]);
  assert.deepEqual(bytesOf(here), pattern());
  await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, here.uri]);
  const back = join(here.folder, 'back');
  await run('nbdcopy', [here.uri, back]);
  assert.deepEqual(readFileSync(back), pattern());
  const kept = here.devices.map((path) => readFileSync(path));
  for (const { deviceIndex, offsetBytes, lengthBytes } of here.plan.segments) kept[deviceIndex]?.fill(0xee, offsetBytes, offsetBytes + lengthBytes);
  assert.ok(
    kept.every((file) => file.every((byte) => byte === 0xee)),
    'the neighbours kept their bytes',
  );
});

test('fio writes and verifies by crc32c over runs out of order', async (t) => {
  const { uri } = await world(t);
  const job = [
    '--name=v',
    '--ioengine=nbd',
    `--uri=${uri}`,
    '--rw=randwrite',
    '--bsrange=512-64k',
    '--size=12M',
    '--iodepth=16',
    '--verify=crc32c',
    '--do_verify=1',
    '--output-format=terse',
  ];
  await run('fio', job, { cwd: tmpdir() });
});

test('write zeroes, discard, patterns and misuse by qemu-io', async (t) => {
  const here = await world(t);
  const commands = [
    'write -P 0x5a 0 12M',
    'write -z 1M 4M',
    'discard 6M 1M',
    'read -P 0x5a 0 1M',
    'read -P 0 1M 4M',
    'read -P 0x5a 5M 1M',
    'read -P 0x5a 7M 5M',
    'flush',
  ];
  const { stdout } = await run('qemu-io', ['-f', 'raw', ...commands.flatMap((command) => ['-c', command]), here.uri]);
  assert.doesNotMatch(stdout, /failed|Pattern verification/);
  await assert.rejects(run('qemu-io', ['-f', 'raw', '-c', 'read 11M 2M', here.uri]));
});

test('a VBD for reading cannot be written', async (t) => {
  const here = await world(t, 'r');
  await assert.rejects(run('nbdcopy', [here.devices[0], here.uri]));
  await assert.rejects(run('qemu-io', ['-f', 'raw', '-c', 'write 0 512', here.uri]));
  assert.equal(
    bytesOf(here).every((byte) => byte === 0xee),
    true,
  );
});

test('close() under full write load: nothing is written after it has returned', async (t) => {
  const here = await world(t);
  const fio = spawn(
    'fio',
    ['--name=w', '--ioengine=nbd', `--uri=${here.uri}`, '--rw=write', '--bs=64k', '--size=12M', '--iodepth=16', '--time_based', '--runtime=60'],
    { stdio: 'ignore', cwd: tmpdir() },
  );
  t.after(() => fio.kill('SIGKILL'));
  const folder = vbdFolder(here.folder, 17);
  // Until the load has reached the device.
  while (bytesOf(here).every((byte) => byte === 0xee)) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(await here.dataPath.isGone(17), false);
  await here.dataPath.close(17);
  assert.equal(await here.dataPath.isGone(17), true);
  assert.deepEqual(livingProcesses(folder), []);
  const after = bytesOf(here);
  const times = here.devices.map((path) => statSync(path).mtimeMs);
  await new Promise((resolve) => fio.once('exit', resolve));
  assert.deepEqual(bytesOf(here), after);
  assert.deepEqual(
    here.devices.map((path) => statSync(path).mtimeMs),
    times,
  );
});

test('connections outlive their daemon, and the next daemon takes them over', async (t) => {
  const here = await world(t);
  const qemu = spawn('qemu-io', ['-f', 'raw', here.uri], { stdio: ['pipe', 'pipe', 'ignore'] });
  t.after(() => qemu.kill('SIGKILL'));
  const answer = async (command: string): Promise<string> => {
    qemu.stdin.write(`${command}\n`);
    let text = '';
    for await (const chunk of qemu.stdout.iterator({ destroyOnReturn: false })) {
      text += String(chunk);
      if (/ops;|failed|verification/.test(text)) return text;
    }
    return text;
  };
  assert.match(await answer('write -P 1 0 4k'), /wrote 4096/);
  await here.dataPath[Symbol.asyncDispose]();
  assert.match(await answer('write -P 2 4k 4k'), /wrote 4096/);
  const next = openPath(here.folder);
  assert.deepEqual(await next.list(), [17]);
  await next.open(here.plan);
  assert.match(await answer('read -P 2 4k 4k'), /read 4096/);
  assert.match((await run('nbdinfo', ['--size', here.uri])).stdout, new RegExp(String(12 * MIB)));
  await next.close(17);
  await next[Symbol.asyncDispose]();
  assert.deepEqual(await next.list(), []);
});

test('garbage ends the connection and nothing else', async (t) => {
  const here = await world(t);
  const socket = connect(vbdFolder(here.folder, 17).socket);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.on('error', () => {});
  socket.resume().write(Buffer.alloc(100_000, 0x58));
  await closed;
  assert.match((await run('nbdinfo', ['--size', here.uri])).stdout, /\d+/);
});

test('direct I/O on a block device: fio writes and verifies, requests below the block size are refused', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-nbd-'));
  const file = join(folder, 'drive');
  writeFileSync(file, Buffer.alloc(16 * MIB, 0xee));
  const device = (await run('losetup', ['--find', '--show', '--direct-io=on', file])).stdout.trim();
  const dataPath = openPath(folder);
  t.after(async () => {
    await dataPath.close(18);
    await dataPath[Symbol.asyncDispose]();
    await run('losetup', ['--detach', device]);
    rmSync(folder, { recursive: true });
  });
  const segment = (offset: number, length: number) => ({ deviceIndex: 0, offsetBytes: bytes(offset * MIB), lengthBytes: bytes(length * MIB) });
  const endpoint = await dataPath.open({
    generation: 18,
    exportName: 'web01/xvda@18',
    mode: 'w',
    sizeBytes: bytes(12 * MIB),
    blockBytes: 512,
    cache: 'none',
    devices: [{ path: device, kind: 'block', identity: { kind: 'path', path: device }, sizeBytes: bytes(16 * MIB) }],
    segments: [segment(9, 4), segment(1, 8)],
  });
  assert.ok(endpoint.kind === 'nbd');
  const job = [
    '--name=v',
    '--ioengine=nbd',
    `--uri=${endpoint.uri}`,
    '--rw=randwrite',
    '--bsrange=512-512k',
    '--size=12M',
    '--iodepth=32',
    '--verify=crc32c',
    '--do_verify=1',
    '--output-format=terse',
  ];
  await run('fio', job, { cwd: tmpdir() });
  await run('nbdcopy', [endpoint.uri, join(folder, 'back')]);
  const held = readFileSync(file);
  assert.deepEqual(readFileSync(join(folder, 'back')), Buffer.concat([held.subarray(9 * MIB, 13 * MIB), held.subarray(MIB, 9 * MIB)]));
  const info = JSON.parse((await run('nbdinfo', ['--json', endpoint.uri])).stdout) as { exports: Record<string, unknown>[] };
  assert.equal(info.exports[0]?.['block_size_minimum'], 512);
});
