import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { closeSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { until } from '../../../test/until.ts';
import { openSyscalls } from '../../host/syscalls.ts';
import { CMD } from './wire/constants.ts';
import { bytes, MIB } from '../../base/units.ts';
import type { PlanDevice, VbdPlan } from '../../core/types.ts';
import { connectRaw, handshakeRaw, requestBytes } from './fixture-client.ts';
import { openTestVbd } from './fixture-vbd.ts';
import type { TestVbd } from './fixture-vbd.ts';
import { CONTROL_FD, SOCKET_FD, SPARE_PLACES } from './spare-descriptors.ts';
import type { NbdOptions } from './nbd-data-path.ts';
import { livingProcesses } from './process-records.ts';
import { vbdFolder } from './vbd-folder.ts';
import { waitForQuiet } from './spare-processes.ts';

const run = promisify(execFile);

/** A VBD of one MiB on each of so many files. */
const planOn =
  (count: number) =>
  (folder: string): VbdPlan => {
    const devices = Array.from({ length: count }, (_, index): PlanDevice => {
      const path = join(folder, `device${index}`);
      writeFileSync(path, Buffer.alloc(MIB, index + 1));
      return { path, kind: 'file', identity: { kind: 'path', path }, sizeBytes: bytes(MIB) };
    });
    const segments = devices.map((_, deviceIndex) => ({ deviceIndex, offsetBytes: bytes(0), lengthBytes: bytes(MIB) }));
    return { generation: 5, exportName: 'web01/xvda@5', mode: 'w', sizeBytes: bytes(count * MIB), blockBytes: 512, cache: 'writeback', devices, segments };
  };

const commandOf = (pid: number): string => told(pid, 'cmdline');
/** Its main thread sleeps in a call on the socket by which it will be told. */
const waits = (pid: number): boolean => Number(told(pid, 'syscall').split(' ')[1]) === CONTROL_FD;

/** Nothing of a process that has ended. */
function told(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch {
    return '';
  }
}

/** Children of this process that wait to be told. */
const sparePids = (): number[] =>
  readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, 'latin1')
    .split(' ')
    .filter((pid) => pid !== '' && commandOf(Number(pid)).includes('--spare'))
    .map(Number);

/** When the spares of the test before have ended. */
async function openWithSpares(plan: (folder: string) => VbdPlan, spareProcesses: number, log: NbdOptions['log'] = () => {}): Promise<TestVbd> {
  await until('the end of others', () => sparePids().length === 0);
  return openTestVbd(plan, { spareProcesses, log });
}

const served = (vbd: TestVbd): number[] => livingProcesses(vbdFolder(vbd.folder, vbd.plan.generation));

async function contentOf(vbd: TestVbd): Promise<Buffer> {
  const copy = join(vbd.folder, 'copy');
  await run('nbdcopy', [vbd.uri, copy]);
  return readFileSync(copy);
}

test('a spare process serves as one that was started for it: all its devices in their order, and a flush', async () => {
  await using vbd = await openWithSpares(planOn(3), 1);
  await until('a spare that waits', () => sparePids().some(waits));
  const client = await connectRaw(vbd.socketPath);
  const [pid] = await until('a connection', () => (served(vbd).length === 1 ? served(vbd) : null));
  assert.match(commandOf(pid ?? 0), /--spare/);
  client.end();
  await until('its end', () => served(vbd).length === 0);
  assert.deepEqual(
    [0, 1, 2].map((index) => vbd.plan.devices[index]?.path),
    [0, 1, 2].map((index) => join(vbd.folder, `device${index}`)),
  );
  const image = join(vbd.folder, 'image');
  writeFileSync(image, Buffer.concat([7, 8, 9].map((value) => Buffer.alloc(MIB, value))));
  await run('nbdcopy', ['--flush', image, vbd.uri]);
  assert.deepEqual(
    vbd.plan.devices.map(({ path }) => readFileSync(path)[MIB - 1]),
    [7, 8, 9],
  );
  assert.ok((await contentOf(vbd)).equals(readFileSync(image)));
});

test('more connections than spares, and more devices than a spare has places for: each is served', async () => {
  // Two descriptors each: just as many as there are places, and more.
  for (const devices of [SPARE_PLACES / 2, SPARE_PLACES + 1]) {
    await using vbd = await openWithSpares(planOn(devices), 1);
    await until('a spare that waits', () => sparePids().some(waits));
    assert.ok((await contentOf(vbd)).equals(Buffer.concat(vbd.plan.devices.map((_, index) => Buffer.alloc(MIB, index + 1)))));
  }
  await using few = await openWithSpares(planOn(1), 1);
  const clients = await Promise.all([1, 2, 3].map(() => connectRaw(few.socketPath)));
  await until('three connections', () => served(few).length === 3);
  for (const client of clients) client.end();
});

test('a spare that is ended, or dies while it is told, costs that client its connection and nobody else anything', async () => {
  await using vbd = await openWithSpares(planOn(1), 1);
  const pid = await until('a spare that waits', () => sparePids().find(waits));
  // Stopped, it can't take what it is handed; ended then, it takes the client's socket with it.
  process.kill(pid, 'SIGSTOP');
  const client = await connectRaw(vbd.socketPath);
  await until('the handover', () => served(vbd).includes(pid));
  process.kill(pid, 'SIGKILL');
  assert.equal((await client.rest()).length, 0);
  await until('its end', () => !served(vbd).includes(pid));
  assert.equal((await contentOf(vbd))[0], 1);
});

test('a spare that does not come within its time is ended, the log says so, and who came meanwhile is served', async () => {
  const events: string[] = [];
  await using vbd = await openWithSpares(planOn(1), 1, (event) => void events.push(event));
  const pid = await until('a spare that waits', () => sparePids().find(waits));
  process.kill(pid, 'SIGSTOP');
  const client = await connectRaw(vbd.socketPath);
  await until('the handover', () => served(vbd).includes(pid));
  const next = await connectRaw(vbd.socketPath);
  assert.equal((await client.rest()).length, 0);
  assert.deepEqual(
    events.filter((event) => event === 'nbd.handover-late'),
    ['nbd.handover-late'],
  );
  await until('its end', () => !served(vbd).includes(pid));
  assert.equal((await next.take(8)).toString('latin1'), 'NBDMAGIC');
  next.end();
});

test('a spare that still starts is left to it: the client gets a process of its own, and the spare the next one', async () => {
  await using vbd = await openWithSpares(planOn(1), 1);
  const pid = await until('a spare', () => sparePids()[0]);
  process.kill(pid, 'SIGSTOP');
  const first = await connectRaw(vbd.socketPath);
  const [own = 0] = await until('a connection', () => (served(vbd).length === 1 ? served(vbd) : null));
  assert.doesNotMatch(commandOf(own), /--spare/);
  assert.equal((await first.take(8)).toString('latin1'), 'NBDMAGIC');
  process.kill(pid, 'SIGCONT');
  await until('it waits', () => waits(pid));
  const second = await connectRaw(vbd.socketPath);
  await until('a second connection', () => served(vbd).includes(pid));
  assert.equal((await second.take(8)).toString('latin1'), 'NBDMAGIC');
  first.end();
  second.end();
});

test('closing ends spares, and one that was just handed a client too', async () => {
  const vbd = await openWithSpares(planOn(1), 2);
  const pids = await until('two spares that wait', () => {
    const found = sparePids();
    return found.length === 2 && found.every(waits) ? found : null;
  });
  for (const pid of pids) process.kill(pid, 'SIGSTOP');
  const client = await connectRaw(vbd.socketPath);
  await until('the handover', () => served(vbd).length === 1);
  for (const pid of pids) if (!served(vbd).includes(pid)) process.kill(pid, 'SIGCONT');
  await vbd[Symbol.asyncDispose]();
  await until('no process', () => sparePids().length === 0);
  assert.equal((await client.rest()).length, 0);
});

test('spares are started when clients ask for little, and in the end also when they never do', () => {
  let asked = 1000;
  const mayStart = waitForQuiet(() => asked);
  const after = (requests: number): boolean => {
    asked += requests;
    return mayStart();
  };
  assert.deepEqual([after(0), after(51), after(50), after(0)], [false, false, true, true]);
  const busy = waitForQuiet(() => (asked += 1000));
  const looks = Array.from({ length: 60 }, () => busy());
  assert.deepEqual([looks.indexOf(true), looks.length - 1], [59, 59]);
});

test('a client that leaves sees the end of its connection, whoever else has it open; the process has ended in order', async () => {
  const ended: unknown[] = [];
  await using vbd = await openWithSpares(planOn(1), 0, (event, details) => ended.push({ event, ...details }));
  const client = await connectRaw(vbd.socketPath);
  await handshakeRaw(client, vbd.plan.exportName);
  const syscalls = openSyscalls();
  const [pid] = served(vbd);
  assert.ok(syscalls !== null && pid !== undefined);
  const pidfd = syscalls.pidfdOpen(pid);
  const held = syscalls.pidfdGetfd(pidfd, SOCKET_FD);
  assert.ok(held >= 0);
  try {
    client.send(Buffer.concat([requestBytes({ type: CMD.READ, length: 512 }), requestBytes({ type: CMD.DISC })]));
    const all = await client.rest();
    assert.equal(all.length, 28 + 512, 'what was answered before came first');
    await until('the end of the process', () => syscalls.poll(pidfd, 1) !== 0);
    await until('its record to go', () => served(vbd).length === 0);
    assert.deepEqual(ended, []);
  } finally {
    for (const fd of [held, pidfd]) closeSync(fd);
  }
});
