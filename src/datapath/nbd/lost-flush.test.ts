// The kernel tells a failed write-back once. The connection that would have been told may be killed while it waits for it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../../../test/until.ts';
import { bytes, MIB } from '../../base/units.ts';
import type { VbdPlan } from '../../core/types.ts';
import { connectGuest } from './fixture-client.ts';
import { openBadDevice } from '../../../test/bad-device.ts';
import type { BadDevice } from '../../../test/bad-device.ts';
import { openTestVbd } from './fixture-vbd.ts';
import type { TestVbd } from './fixture-vbd.ts';
import { livingProcesses } from './process-records.ts';
import { vbdFolder } from './vbd-folder.ts';

const NAME = 'web01/xvda@8';
const LENGTH = 4096;

/** What a process waits in: msync(2), that is, in a flush. */
const MSYNC = process.arch === 'x64' ? '26' : '227';
const callOf = (pid: number): string => readFileSync(`/proc/${pid}/syscall`, 'latin1').split(' ')[0] ?? '';

/** `ended`: the client sees the end of its connection, which comes when the device has answered. */
type Killed = AsyncDisposable & { readonly vbd: TestVbd; readonly device: BadDevice; readonly ended: Promise<void> };

/** A VBD through the page cache of a loop device, and its connection, killed in a flush that the device has not answered yet. */
async function killedInFlush(): Promise<Killed> {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-lost-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rmSync(folder, { recursive: true }));
  const device = stack.use(await openBadDevice(folder));
  const path = execFileSync('losetup', ['--find', '--show', device.path], { encoding: 'utf8' }).trim();
  stack.defer(() => void execFileSync('losetup', ['--detach', path]));
  const vbd = stack.use(
    await openTestVbd((): VbdPlan => ({
      generation: 8,
      exportName: NAME,
      mode: 'w',
      sizeBytes: bytes(MIB),
      blockBytes: 512,
      cache: 'writeback',
      devices: [{ path, kind: 'block', identity: { kind: 'path', path }, sizeBytes: bytes(8 * MIB) }],
      segments: [{ deviceIndex: 0, offsetBytes: bytes(MIB), lengthBytes: bytes(MIB) }],
    })),
  );
  stack.defer(() => device.hang(false));
  const guest = await connectGuest(vbd.socketPath, NAME);
  await guest.write(0, new Uint8Array(LENGTH).fill(1));
  const [pid = 0] = livingProcesses(vbdFolder(vbd.folder, 8));
  device.hang(true);
  const ended = assert.rejects(guest.flush());
  await until('a flush that waits', () => callOf(pid) === MSYNC);
  process.kill(pid, 'SIGKILL');
  const moved = stack.move();
  return { vbd, device, ended, [Symbol.asyncDispose]: () => moved.disposeAsync() };
}

test('I5: killed in a flush that fails, a connection leaves a VBD whose next flush fails: for its next client, and all others', async () => {
  await using killed = await killedInFlush();
  const { vbd, device } = killed;
  device.failWrites(true);
  device.hang(false);
  await killed.ended;
  // Greeted when the process before has gone, and with it what the kernel had told it.
  const next = await connectGuest(vbd.socketPath, NAME);
  device.failWrites(false);
  await assert.rejects(next.flush());
  const other = await connectGuest(vbd.socketPath, NAME);
  await assert.rejects(other.flush());
  assert.match(readFileSync(vbdFolder(vbd.folder, 8).poisoned, 'utf8'), /write-back failed/);
  await next.end();
  await other.end();
});

test('killed in a flush that succeeds, a connection has cost its VBD nothing', async () => {
  await using killed = await killedInFlush();
  const { vbd, device } = killed;
  device.hang(false);
  await killed.ended;
  const next = await connectGuest(vbd.socketPath, NAME);
  await next.flush();
  await next.write(0, new Uint8Array(LENGTH).fill(2));
  await next.flush();
  assert.equal((await device.content())[MIB], 2);
  await next.end();
});
