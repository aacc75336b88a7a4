// Direct writes in flight on threads: a process that is killed has not gone before the last of them has come back from the device.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { until } from '../../../test/until.ts';
import { bytes, MIB } from '../../base/units.ts';
import type { VbdPlan } from '../../core/types.ts';
import { connectRaw, goData, optionBytes, requestBytes } from './fixture-client.ts';
import { openTestVbd } from './fixture-vbd.ts';
import { livingProcesses, vbdFolder } from './vbd-folder.ts';
import { CMD, OPT } from './wire/constants.ts';

const run = promisify(execFile);
const WRITES = 4;
const LENGTH = 4096;

const statesOf = (pid: number): string[] =>
  readdirSync(`/proc/${pid}/task`).map((thread) => /\) (\w)/.exec(readFileSync(`/proc/${pid}/task/${thread}/stat`, 'latin1'))?.[1] ?? '');

/** A device whose driver can be made to hang: memory of an nbdkit, as a file by FUSE. */
async function hangingDevice(folder: string): Promise<AsyncDisposable & { readonly path: string; hang(hanging: boolean): void; content(): Promise<Buffer> }> {
  const socket = join(folder, 'nbdkit.sock');
  const path = join(folder, 'fuse', 'disk');
  mkdirSync(join(folder, 'fuse'));
  const nbdkit = spawn('nbdkit', ['--foreground', '--unix', socket, 'memory', '8M'], { stdio: 'ignore' });
  await until('nbdkit', () => readdirSync(folder).includes('nbdkit.sock'));
  const fuse = spawn('nbdfuse', [path, `nbd+unix:///?socket=${socket}`], { stdio: 'ignore' });
  await until('the file', () => readdirSync(join(folder, 'fuse')).includes('disk'));
  return {
    path,
    hang: (hanging) => void nbdkit.kill(hanging ? 'SIGSTOP' : 'SIGCONT'),
    async content() {
      const copy = join(folder, 'content');
      await run('nbdcopy', [`nbd+unix:///?socket=${socket}`, copy]);
      return readFileSync(copy);
    },
    async [Symbol.asyncDispose]() {
      nbdkit.kill('SIGCONT');
      await run('fusermount3', ['-u', join(folder, 'fuse')]);
      const ended = [nbdkit, fuse].map((child) => (child.exitCode === null ? once(child, 'exit') : Promise.resolve([])));
      nbdkit.kill();
      await Promise.all(ended);
    },
  };
}

test('I2: killed with direct writes in flight, a connection has gone only when the device has answered the last of them', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-direct-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rmSync(folder, { recursive: true }));
  const device = stack.use(await hangingDevice(folder));
  const { path } = device;
  const vbd = stack.use(
    await openTestVbd((): VbdPlan => {
      return {
        generation: 6,
        exportName: 'web01/xvda@6',
        mode: 'w',
        sizeBytes: bytes(8 * MIB),
        blockBytes: 512,
        cache: 'none',
        devices: [{ path, kind: 'file', identity: { kind: 'path', path }, sizeBytes: bytes(8 * MIB) }],
        segments: [{ deviceIndex: 0, offsetBytes: bytes(0), lengthBytes: bytes(8 * MIB) }],
      };
    }),
  );
  const client = await connectRaw(vbd.socketPath);
  client.send(Buffer.from([0, 0, 0, 3]));
  client.send(optionBytes(OPT.GO, goData('')));
  await until('a connection', () => livingProcesses(vbdFolder(vbd.folder, 6)).length === 1);
  const [pid = 0] = livingProcesses(vbdFolder(vbd.folder, 6));
  device.hang(true);
  const writes = Array.from({ length: WRITES }, (_, index) => [
    requestBytes({ type: CMD.WRITE, offset: index * LENGTH, length: LENGTH, cookie: index }),
    Buffer.alloc(LENGTH, index + 1),
  ]);
  client.send(Buffer.concat(writes.flat()));
  await until('several writes in the kernel', () => statesOf(pid).filter((state) => state === 'D').length >= 2);
  process.kill(pid, 'SIGKILL');
  client.end();
  assert.equal(await vbd.dataPath.isGone(6), false, 'its pipe is held by threads that are still writing');
  device.hang(false);
  await until('its end', () => vbd.dataPath.isGone(6));
  const content = await device.content();
  assert.ok(
    writes.some((_, index) => content[index * LENGTH] === index + 1),
    'what was in flight has landed before',
  );
});
