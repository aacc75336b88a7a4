import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../../../test/until.ts';
import { bytes, MIB } from '../../base/units.ts';
import type { VbdPlan } from '../../core/types.ts';
import { openSyscalls } from '../../host/syscalls.ts';
import { answerOf, connectGuest, connectRaw, handshakeRaw, requestBytes } from './fixture-client.ts';
import { openTestVbd } from './fixture-vbd.ts';
import type { TestVbd } from './fixture-vbd.ts';
import { openNbdDataPath } from './nbd-data-path.ts';
import { parkingOf } from './parked.ts';
import { livingProcesses } from './process-records.ts';
import { vbdFolder } from './vbd-folder.ts';
import { CMD } from './wire/constants.ts';

const NAME = 'web01/xvda@5';

function plan(folder: string): VbdPlan {
  const path = join(folder, 'device');
  writeFileSync(path, '');
  truncateSync(path, 4 * MIB);
  const devices = [{ path, kind: 'file' as const, identity: { kind: 'path' as const, path }, sizeBytes: bytes(4 * MIB) }];
  // Two runs out of order.
  const segments = [2 * MIB, 0].map((offset) => ({ deviceIndex: 0, offsetBytes: bytes(offset), lengthBytes: bytes(2 * MIB) }));
  return { generation: 5, exportName: NAME, mode: 'w', sizeBytes: bytes(4 * MIB), blockBytes: 512, cache: 'writeback', devices, segments };
}

const PARK_AFTER_MS = 30;
const opened = (spares = 0): Promise<TestVbd> => openTestVbd(plan, { spareProcesses: spares, parkAfterMs: PARK_AFTER_MS });
const served = (vbd: TestVbd): number[] => livingProcesses(vbdFolder(vbd.folder, 5));
const programOf = (pid: number): string => readFileSync(`/proc/${pid}/comm`, 'latin1').trim();
const logOf = (vbd: TestVbd): string => readFileSync(vbdFolder(vbd.folder, 5).log, 'utf8');

/** The processes of the VBD, when all of them are parked. */
const parked = (vbd: TestVbd, count = 1): Promise<number[]> =>
  until('parked', () => {
    const pids = served(vbd);
    return pids.length === count && pids.every((pid) => programOf(pid) === 'bash') ? pids : null;
  });

for (const spares of [0, 1])
  test(`a connection parks and comes back, again and again, as the same process, and its data verifies (${spares} spares)`, async () => {
    await using vbd = await opened(spares);
    const guest = await connectGuest(vbd.socketPath, NAME);
    const model = Buffer.alloc(4 * MIB);
    let first: number[] | null = null;
    for (let round = 0; round < 3; round += 1) {
      const data = randomBytes(8192);
      const offset = (round * 701 * 4096 + 2 * MIB - 4096) % (4 * MIB - 8192);
      data.copy(model, offset);
      await guest.write(offset, data);
      const pids = await parked(vbd);
      first ??= pids;
      assert.deepEqual(pids, first);
      assert.ok(Buffer.from(await guest.read(offset, 8192)).equals(data));
    }
    await parked(vbd);
    assert.ok(Buffer.from(await guest.read(0, 4 * MIB)).equals(model));
    // A long answer is counted when all of it has left: the client may have it before.
    const stats = await until('the last read is counted', async () => {
      const found = await vbd.dataPath.stats(5);
      return found?.reads === 4 ? found : null;
    });
    assert.deepEqual([stats.connections, stats.writes, stats.reads, stats.errors], [1, 3, 4, 0]);
    await guest.end();
    await until('its end', () => served(vbd).length === 0);
    assert.equal(logOf(vbd), '');
  });

test('what was written before it parked is flushed after it, and poison is not forgotten', async () => {
  await using vbd = await opened();
  const guest = await connectGuest(vbd.socketPath, NAME);
  await guest.write(0, Buffer.alloc(4096, 1));
  await parked(vbd);
  await guest.flush();
  assert.equal((await vbd.dataPath.stats(5))?.flushes, 1);
  await guest.write(0, Buffer.alloc(4096, 2));
  await parked(vbd);
  writeFileSync(vbdFolder(vbd.folder, 5).poisoned, 'a write-back failed');
  await assert.rejects(guest.flush(), /NBD error 5/);
});

test('a request that comes in pieces wakes it; requests that came together are all answered', async () => {
  await using vbd = await opened();
  const client = await connectRaw(vbd.socketPath);
  await handshakeRaw(client, NAME);
  const [pid = 0] = await parked(vbd);
  const write = Buffer.concat([requestBytes({ type: CMD.WRITE, offset: 4096, length: 100_000 }), Buffer.alloc(100_000, 7)]);
  client.send(write.subarray(0, 1));
  await until('awake', () => programOf(pid) !== 'bash');
  client.send(write.subarray(1, 20_000));
  client.send(write.subarray(20_000));
  await answerOf(client);
  await parked(vbd);
  client.send(Buffer.concat([1, 2, 3].map((cookie) => requestBytes({ type: CMD.READ, offset: 4096, length: 512, cookie }))));
  for (let answers = 0; answers < 3; answers += 1) assert.ok((await answerOf(client)).every((byte) => byte === 7));
});

test('a parked connection is revoked with proof: the client is cut off, and no process is left', async () => {
  const vbd = await opened();
  const guest = await connectRaw(vbd.socketPath);
  await handshakeRaw(guest, NAME);
  const [pid = 0] = await parked(vbd);
  assert.equal(await vbd.dataPath.isGone(5), false);
  // What it sends now comes too late, or is answered before; it is never written after.
  guest.send(Buffer.concat([requestBytes({ type: CMD.WRITE, length: 4096 }), Buffer.alloc(4096, 9)]));
  await vbd.dataPath.close(5);
  const before = readFileSync(join(vbd.folder, 'device'));
  await guest.rest();
  await until('its end', () => !existsSync(`/proc/${pid}`));
  assert.ok(readFileSync(join(vbd.folder, 'device')).equals(before));
  await vbd[Symbol.asyncDispose]();
});

test('kill -9 of a parked connection costs its client the connection, and nobody else anything', async () => {
  await using vbd = await opened();
  const [one, other] = [await connectRaw(vbd.socketPath), await connectGuest(vbd.socketPath, NAME)];
  await handshakeRaw(one, NAME);
  await other.write(0, Buffer.alloc(4096, 3));
  const [pid = 0] = await parked(vbd, 2);
  process.kill(pid, 'SIGKILL');
  await until('its end', () => served(vbd).length === 1);
  const again = await connectGuest(vbd.socketPath, NAME);
  assert.equal((await again.read(0, 4096))[0], 3);
});

test('clients that leave, or say what no client may, end a parked connection without a word', async () => {
  await using vbd = await opened();
  for (const last of ['', 'GET / HTTP/1.0\r\n\r\n', '%nonsense that is as long as a request']) {
    const client = await connectRaw(vbd.socketPath);
    await handshakeRaw(client, NAME);
    await parked(vbd);
    if (last === '') client.end();
    else client.send(Buffer.from(last));
    assert.equal((await client.rest()).length, 0);
    await until('its end', () => served(vbd).length === 0);
  }
  assert.equal(logOf(vbd), '');
});

test('parked connections outlive the daemon: they serve without one, and the next knows them and ends them', async () => {
  await using vbd = await opened();
  const guests = [await connectGuest(vbd.socketPath, NAME), await connectGuest(vbd.socketPath, NAME)];
  await guests[0]?.write(0, Buffer.alloc(4096, 5));
  const pids = await parked(vbd, 2);
  await vbd.dataPath[Symbol.asyncDispose]();
  for (const guest of guests) assert.equal((await guest.read(0, 4096))[0], 5);
  await parked(vbd, 2);
  const next = openNbdDataPath({
    runFolder: vbd.folder,
    connectionProgram: join(import.meta.dirname, 'connection.ts'),
    nodePath: process.execPath,
    verify: async () => assert.fail('the devices are taken over as they are open'),
    syscalls: openSyscalls(),
    log: () => {},
  });
  try {
    assert.deepEqual(await next.list(), [5]);
    await next.open(vbd.plan);
    assert.deepEqual((await next.stats(5))?.connections, 2);
    await guests[1]?.write(4096, Buffer.alloc(4096, 6));
    assert.equal((await guests[0]?.read(4096, 4096))?.[0], 6);
    assert.deepEqual(served(vbd).toSorted(), pids.toSorted());
    await next.close(5);
    assert.equal(served(vbd).length, 0);
    assert.equal(await next.isGone(5), true);
  } finally {
    await next[Symbol.asyncDispose]();
  }
});

test('the disks of the host itself are never parked', () => {
  const exported = { name: '0/xvda@5', description: '', sizeBytes: 4096, transmissionFlags: 0, blockSizes: [1, 4096, 4096], contexts: [] } as const;
  const negotiated = { exported, structured: true, contexts: [] };
  const syscalls = openSyscalls();
  assert.ok(syscalls !== null);
  assert.equal(parkingOf({ folder: '/', exported, descriptors: 5, afterMs: 1, negotiated }, syscalls), null);
});
