// A process that can write is on record, whenever the daemon that started it was killed.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../../../test/until.ts';
import { bytes, MIB } from '../../base/units.ts';
import type { VbdPlan } from '../../core/types.ts';
import { openSyscalls } from '../../host/syscalls.ts';
import { answerOf, connectRaw, handshakeRaw, requestBytes } from './fixture-client.ts';
import type { RawClient } from './fixture-client.ts';
import { openNbdDataPath } from './nbd-data-path.ts';
import type { NbdDataPath } from './nbd-data-path.ts';
import { livingProcesses, recordProcess } from './process-records.ts';
import { pipeIsGone, vbdFolder } from './vbd-folder.ts';
import type { VbdFolder } from './vbd-folder.ts';
import { CMD } from './wire/constants.ts';

const NAME = 'web01/xvda@9';

type Killed = AsyncDisposable & { readonly plan: VbdPlan; readonly folder: VbdFolder; readonly client: RawClient; readonly next: NbdDataPath };

/** A VBD whose daemon was killed between the start of a connection process and its record, and the daemon after it. */
async function killedDaemon(records: 'kept' | 'lost'): Promise<Killed> {
  await using stack = new AsyncDisposableStack();
  const run = mkdtempSync(join(tmpdir(), 'xvd-killed-'));
  stack.defer(() => rmSync(run, { recursive: true }));
  const path = join(run, 'device');
  writeFileSync(path, Buffer.alloc(MIB, 7));
  const plan: VbdPlan = {
    generation: 9,
    exportName: NAME,
    mode: 'w',
    sizeBytes: bytes(MIB),
    blockBytes: 512,
    cache: 'writeback',
    devices: [{ path, kind: 'file', identity: { kind: 'path', path }, sizeBytes: bytes(MIB) }],
    segments: [{ deviceIndex: 0, offsetBytes: bytes(0), lengthBytes: bytes(MIB) }],
  };
  const folder = vbdFolder(run, 9);
  const daemon = spawn(process.execPath, [join(import.meta.dirname, 'fixture-killed-daemon.ts'), run, JSON.stringify(plan), records], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  stack.defer(() => void daemon.kill('SIGKILL'));
  await once(daemon.stdout, 'data');
  const ended = once(daemon, 'exit');
  const client = await connectRaw(folder.socket);
  stack.defer(() => client.end());
  assert.deepEqual(await ended, [null, 'SIGKILL']);
  const next = openNbdDataPath({
    runFolder: run,
    connectionProgram: join(import.meta.dirname, 'connection.ts'),
    nodePath: process.execPath,
    verify: async () => {},
    syscalls: openSyscalls(),
    log: () => {},
  });
  stack.use(next);
  const moved = stack.move();
  return { plan, folder, client, next, [Symbol.asyncDispose]: () => moved.disposeAsync() };
}

test('I2: a daemon killed before it could record the process it had started: the next one revokes that VBD at once, with proof', async () => {
  await using killed = await killedDaemon('kept');
  const { next, client, folder } = killed;
  assert.equal(await next.isGone(9), false, 'the process that is about to begin has its pipe');
  await next.close(9);
  assert.equal(await next.isGone(9), true);
  await client.rest();
  assert.deepEqual(await next.list(), []);
  assert.deepEqual(livingProcesses(folder), []);
});

test('a process that no daemon has recorded serves its client, and is taken over and revoked as every other', async () => {
  await using killed = await killedDaemon('kept');
  const { plan, folder, next, client } = killed;
  await handshakeRaw(client, NAME);
  const [pid = 0] = livingProcesses(folder);
  assert.deepEqual(readdirSync(folder.processes), [String(pid)], 'on record before it says a word');
  await next.open(plan);
  assert.equal((await next.stats(9))?.connections, 1);
  client.send(Buffer.concat([requestBytes({ type: CMD.WRITE, length: 512 }), Buffer.alloc(512, 8)]));
  await answerOf(client);
  await next.close(9);
  client.send(Buffer.concat([requestBytes({ type: CMD.WRITE, length: 512 }), Buffer.alloc(512, 9)]));
  await client.rest();
  assert.equal(readFileSync(plan.devices[0]?.path ?? '')[0], 8);
});

test("a process that can't be put on record serves nobody", async () => {
  await using killed = await killedDaemon('lost');
  const { next, client, folder } = killed;
  assert.equal((await client.rest()).length, 0, 'not even a greeting');
  await until('its end', () => pipeIsGone(folder.alive));
  assert.match(readFileSync(folder.log, 'utf8'), /ENOENT.*processes/);
  await next.close(9);
});

test('a record is whole or not there; what a writer left half-way, and a number that is used again, are nobody', async () => {
  const run = mkdtempSync(join(tmpdir(), 'xvd-records-'));
  try {
    const folder = vbdFolder(run, 1);
    assert.deepEqual(livingProcesses(folder), []);
    mkdirSync(folder.processes, { recursive: true });
    const record = join(folder.processes, String(process.pid));
    writeFileSync(join(folder.processes, `${process.pid}.by-1`), '');
    writeFileSync(record, '1');
    assert.deepEqual(livingProcesses(folder), [], 'another had that number');
    recordProcess(folder, process.pid);
    // As one that another process forgets between the look at the folder and the look at the record.
    symlinkSync('nowhere', join(folder.processes, '1'));
    assert.deepEqual(livingProcesses(folder), [process.pid]);
    // Nothing is written again, so nothing fails where the process is known already.
    const before = readdirSync(folder.processes);
    recordProcess(folder, process.pid);
    assert.deepEqual(readdirSync(folder.processes), before);
    recordProcess(folder, 2 ** 22 + 1);
    assert.deepEqual(readdirSync(folder.processes), before, 'who is gone is not recorded');
  } finally {
    rmSync(run, { recursive: true });
  }
});
