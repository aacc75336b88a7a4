// Direct writes in flight: a process that is killed has not gone before the last of them has come back from the device.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../../../test/until.ts';
import { openSyscalls } from '../../host/syscalls.ts';
import { bytes, MIB } from '../../base/units.ts';
import type { VbdPlan } from '../../core/types.ts';
import { openBadDevice } from '../../../test/bad-device.ts';
import type { BadDevice } from '../../../test/bad-device.ts';
import { connectRaw, goData, optionBytes, requestBytes } from './fixture-client.ts';
import { openTestVbd } from './fixture-vbd.ts';
import type { TestVbd } from './fixture-vbd.ts';
import { livingProcesses } from './process-records.ts';
import { pipeIsGone, vbdFolder, withMemory } from './vbd-folder.ts';
import { CMD, OPT } from './wire/constants.ts';

const WRITES = 4;
const LENGTH = 4096;

/** What a process waits in: io_submit(2) or io_getevents(2), that is, with requests in flight. */
const AIO_CALLS = process.arch === 'x64' ? ['209', '208'] : ['2', '4'];
const callOf = (pid: number): string => readFileSync(`/proc/${pid}/syscall`, 'latin1').split(' ')[0] ?? '';

type Hung = AsyncDisposable & {
  readonly vbd: TestVbd;
  readonly pid: number;
  readonly device: BadDevice;
  readonly client: Awaited<ReturnType<typeof connectRaw>>;
};

/** A connection with direct writes in flight to a device that hangs. */
async function withHangingWrites(): Promise<Hung> {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-direct-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rmSync(folder, { recursive: true }));
  const device = stack.use(await openBadDevice(folder));
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
  // Before the VBD is closed, which waits for the device.
  stack.defer(() => device.hang(false));
  const client = await connectRaw(vbd.socketPath);
  client.send(Buffer.from([0, 0, 0, 3]));
  client.send(optionBytes(OPT.GO, goData('')));
  await until('a connection', () => livingProcesses(vbdFolder(vbd.folder, 6)).length === 1);
  const [pid = 0] = livingProcesses(vbdFolder(vbd.folder, 6));
  device.hang(true);
  client.send(Buffer.concat(writes.flat()));
  await until('writes in flight', () => AIO_CALLS.includes(callOf(pid)));
  const moved = stack.move();
  return { vbd, pid, device, client, [Symbol.asyncDispose]: () => moved.disposeAsync() };
}

const writes = Array.from({ length: WRITES }, (_, index) => [
  requestBytes({ type: CMD.WRITE, offset: index * LENGTH, length: LENGTH, cookie: index }),
  Buffer.alloc(LENGTH, index + 1),
]);

const landed = (content: Buffer): boolean => writes.some((_, index) => content[index * LENGTH] === index + 1);

test('I2: killed with direct writes in flight, a connection has gone only when the device has answered the last of them', async () => {
  await using hung = await withHangingWrites();
  const { vbd, pid, device, client } = hung;
  process.kill(pid, 'SIGKILL');
  client.end();
  assert.equal(await vbd.dataPath.isGone(6), false, 'its pipe is held while its memory is taken apart');
  device.hang(false);
  await until('its end', () => vbd.dataPath.isGone(6));
  assert.ok(landed(await device.content()), 'what was in flight has landed before');
});

test('I2: whoever holds the memory of a connection when it is killed lets its pipe end too early, and the lock stands in', async () => {
  await using hung = await withHangingWrites();
  const { vbd, pid, device, client } = hung;
  const folder = vbdFolder(vbd.folder, 6);
  const holder = spawn(process.execPath, [join(import.meta.dirname, 'fixture-memory-holder.ts'), String(pid), device.path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(holder.stdout, 'data');
  await until('its page is asked for', () => /\) D /.test(readFileSync(`/proc/${holder.pid}/stat`, 'latin1')));
  process.kill(pid, 'SIGKILL');
  client.end();
  await until('the end of the pipe', () => pipeIsGone(folder.alive));
  assert.deepEqual(withMemory(folder, openSyscalls()), [pid]);
  assert.equal(await vbd.dataPath.isGone(6), false);
  const next = connect(vbd.socketPath);
  const leftAtGreeting = once(next, 'data').then(() => withMemory(folder, openSyscalls()).includes(pid));
  device.hang(false);
  await once(holder, 'exit');
  assert.equal(await leftAtGreeting, false, 'the next connection is served only then');
  assert.ok(landed(await device.content()), 'what was in flight has landed before');
  next.destroy();
});
