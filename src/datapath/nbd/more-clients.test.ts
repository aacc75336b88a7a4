// Clients that export again what they are served, and the commands that make holes: each on a VBD of two runs out of order.

import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, ftruncateSync, openSync, readFileSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { until } from '../../../test/until.ts';
import { bytes, MIB } from '../../base/units.ts';
import type { VbdPlan } from '../../core/types.ts';
import { openTestVbd } from './fixture-vbd.ts';
import type { TestVbd } from './fixture-vbd.ts';

const run = promisify(execFile);

/** A disk of 8 MiB: its first half is the second of the file. */
const twoRuns = (mode: 'r' | 'w' = 'w') =>
  openTestVbd((folder): VbdPlan => {
    const path = join(folder, 'disk');
    const fd = openSync(path, 'w');
    ftruncateSync(fd, 8 * MIB);
    writeSync(fd, Buffer.alloc(8 * MIB, 7));
    closeSync(fd);
    const segment = (offset: number) => ({ deviceIndex: 0, offsetBytes: bytes(offset), lengthBytes: bytes(4 * MIB) });
    return {
      generation: 3,
      exportName: 'web01/xvda@3',
      mode,
      sizeBytes: bytes(8 * MIB),
      blockBytes: 512,
      cache: 'writeback',
      devices: [{ path, kind: 'file', identity: { kind: 'path', path }, sizeBytes: bytes(8 * MIB) }],
      segments: [segment(4 * MIB), segment(0)],
    };
  });

const contentOf = ({ folder }: TestVbd): Buffer => {
  const file = readFileSync(join(folder, 'disk'));
  return Buffer.concat([file.subarray(4 * MIB), file.subarray(0, 4 * MIB)]);
};

test('nbdinfo is told what may be done, by a VBD to write and by one to read', async () => {
  const told = async (uri: string): Promise<Record<string, unknown>> => {
    const { exports } = JSON.parse((await run('nbdinfo', ['--json', uri])).stdout) as { exports: Record<string, unknown>[] };
    return exports[0] ?? {};
  };
  await using writable = await twoRuns();
  const all = await told(writable.uri);
  assert.deepEqual([all['export-name'], all['export-size'], all['is_read_only']], ['web01/xvda@3', 8 * MIB, false]);
  for (const what of ['cache', 'df', 'fast_zero', 'flush', 'fua', 'multi_conn', 'trim', 'zero']) assert.equal(all[`can_${what}`], true, what);
  await run('nbdinfo', ['--can', 'write', writable.uri]);
  await using readable = await twoRuns('r');
  const less = await told(readable.uri);
  assert.equal(less['is_read_only'], true);
  for (const what of ['trim', 'zero', 'fua']) assert.equal(less[`can_${what}`], false, what);
  await assert.rejects(run('nbdinfo', ['--can', 'write', readable.uri]), { code: 2 });
});

test('qemu-io writes patterns, zeroes and discards, across the seam of the runs', async () => {
  await using vbd = await twoRuns();
  const commands = [
    'write -P 9 3M 2M',
    'write -z 3584k 512k',
    'write -z -u 4M 512k',
    'discard 6M 1M',
    'flush',
    'read -P 9 3M 512k',
    'read -P 0 3584k 1M',
    'read -P 9 4608k 512k',
    'read -P 0 6M 1M',
    'read -P 7 7M 1M',
  ];
  const { stdout } = await run('qemu-io', ['-f', 'raw', '-d', 'unmap', ...commands.flatMap((command) => ['-c', command]), vbd.uri]);
  assert.doesNotMatch(stdout, /failed|error/i);
  const expected = Buffer.alloc(8 * MIB, 7);
  expected
    .fill(9, 3 * MIB, 5 * MIB)
    .fill(0, 3.5 * MIB, 4.5 * MIB)
    .fill(0, 6 * MIB, 7 * MIB);
  assert.ok(contentOf(vbd).equals(expected), 'the file has what was written');
  assert.ok(statSync(join(vbd.folder, 'disk')).blocks * 512 <= 6.5 * MIB, 'what may be a hole is one');
});

test('nbdfuse shows the disk as a file, to read and to write', async (t) => {
  await using vbd = await twoRuns();
  const path = join(vbd.folder, 'mounted');
  writeFileSync(path, '');
  const fuse = spawn('nbdfuse', [path, vbd.uri], { stdio: 'ignore' });
  const ended = once(fuse, 'exit');
  const unmount = async (): Promise<void> => {
    if (fuse.exitCode !== null || fuse.signalCode !== null) return;
    execFileSync('fusermount3', ['-u', path]);
    await ended;
  };
  t.after(unmount);
  await until('nbdfuse has mounted it', () => statSync(path).size === 8 * MIB);
  const [part, seen] = [join(vbd.folder, 'part'), join(vbd.folder, 'seen')];
  writeFileSync(part, Buffer.alloc(MIB, 5));
  // By processes of their own: this one accepts the connections that the mount may still make.
  await run('dd', [`if=${part}`, `of=${path}`, 'bs=512k', 'seek=7', 'conv=notrunc,fsync', 'status=none']);
  await run('cp', [path, seen]);
  const expected = Buffer.alloc(8 * MIB, 7).fill(5, 3.5 * MIB, 4.5 * MIB);
  assert.ok(readFileSync(seen).equals(expected));
  await unmount();
  assert.ok(contentOf(vbd).equals(expected));
});

test('qemu-storage-daemon exports the disk again, and what its client writes is here', async (t) => {
  await using vbd = await twoRuns();
  const socket = join(vbd.folder, 'again');
  const server = { type: 'unix', path: vbd.socketPath };
  const daemon = spawn(
    'qemu-storage-daemon',
    [
      ...['--blockdev', JSON.stringify({ driver: 'nbd', 'node-name': 'disk', server, export: vbd.plan.exportName })],
      ...['--nbd-server', `addr.type=unix,addr.path=${socket}`],
      ...['--export', 'type=nbd,id=again,node-name=disk,name=again,writable=on'],
    ],
    { stdio: 'ignore' },
  );
  const ended = once(daemon, 'exit');
  const stop = async (): Promise<void> => {
    daemon.kill();
    await ended;
  };
  t.after(stop);
  await until('it listens', () => existsSync(socket));
  const again = `nbd+unix:///again?socket=${socket}`;
  await run('qemu-io', ['-f', 'raw', '-c', 'write -P 3 3M 2M', '-c', 'write -z 4M 512k', '-c', 'flush', again]);
  await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', again, vbd.uri]);
  await stop();
  const expected = Buffer.alloc(8 * MIB, 7)
    .fill(3, 3 * MIB, 5 * MIB)
    .fill(0, 4 * MIB, 4.5 * MIB);
  assert.ok(contentOf(vbd).equals(expected));
});
