import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { bytes } from '../../base/units.ts';
import { openSyscalls } from '../../host/syscalls.ts';
import type { PlanDevice } from '../../core/types.ts';
import { CONTRACT_DEVICE_BYTES, contractPlan, dataPathContract } from '../contract.ts';
import type { DataPathUnderTest } from '../contract.ts';
import type { DataPath } from '../datapath.ts';
import { answerOf, connectGuest, connectRaw, goData, handshakeRaw, optionBytes, requestBytes } from './fixture-client.ts';
import { openNbdDataPath } from './nbd-data-path.ts';
import { livingProcesses } from './process-records.ts';
import { vbdFolder } from './vbd-folder.ts';
import { CMD, NBD_ERROR, OPT } from './wire/constants.ts';

const connectionProgram = join(import.meta.dirname, 'connection.ts');

type World = DataPathUnderTest & { readonly folder: string; readonly poisoned: Promise<readonly [number, string]> };

async function world(): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-nbd-'));
  const devices: PlanDevice[] = ['a', 'b'].map((name) => ({
    path: join(folder, name),
    kind: 'file',
    identity: { kind: 'path', path: join(folder, name) },
    sizeBytes: bytes(CONTRACT_DEVICE_BYTES),
  }));
  for (const { path } of devices) writeFileSync(path, Buffer.alloc(CONTRACT_DEVICE_BYTES, 0xee));
  const poisoned = Promise.withResolvers<readonly [number, string]>();
  const opened: DataPath[] = [];
  const open = (): DataPath => {
    const dataPath = openNbdDataPath({
      runFolder: folder,
      connectionProgram,
      nodePath: process.execPath,
      verify: async () => {},
      syscalls: openSyscalls(),
      log: () => {},
      onPoisoned: (generation, reason) => poisoned.resolve([generation, reason]),
    });
    opened.push(dataPath);
    return dataPath;
  };
  const dataPath = open();
  return {
    folder,
    poisoned: poisoned.promise,
    dataPath,
    devices,
    connect: async (endpoint) => {
      assert.ok(endpoint.kind === 'nbd');
      return connectGuest(endpoint.socketPath, endpoint.exportName);
    },
    contentOf: async (path) => Uint8Array.from(readFileSync(path)),
    async nextDaemon() {
      await dataPath[Symbol.asyncDispose]();
      return open();
    },
    async [Symbol.asyncDispose]() {
      for (const generation of await dataPath.list()) await dataPath.close(generation);
      for (const one of opened) await one[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    },
  };
}

dataPathContract('nbd', world);

test('each misuse gets the error that the protocol names, and the connection goes on', async () => {
  await using under = await world();
  const endpoint = await under.dataPath.open(contractPlan(under.devices));
  assert.ok(endpoint.kind === 'nbd');
  const client = await connectRaw(endpoint.socketPath);
  await handshakeRaw(client, endpoint.exportName);
  const cases: readonly (readonly [Parameters<typeof requestBytes>[0], number])[] = [
    [{ type: CMD.READ, offset: 96 * 1024, length: 1 }, NBD_ERROR.EINVAL],
    [{ type: CMD.READ, offset: Number.MAX_SAFE_INTEGER, length: 512 }, NBD_ERROR.EINVAL],
    [{ type: CMD.READ, length: 0 }, NBD_ERROR.EINVAL],
    [{ type: CMD.READ, length: 0xffffffff }, NBD_ERROR.EINVAL],
    [{ type: CMD.READ, length: 512, flags: 0x8000 }, NBD_ERROR.EINVAL],
    [{ type: 99, length: 512 }, NBD_ERROR.EINVAL],
    [{ type: CMD.BLOCK_STATUS, length: 512 }, NBD_ERROR.EINVAL],
    [{ type: CMD.TRIM, offset: 90 * 1024, length: 0xf0000000 }, NBD_ERROR.EINVAL],
    [{ type: CMD.WRITE_ZEROES, offset: 90 * 1024, length: 0xf0000000 }, NBD_ERROR.ENOSPC],
  ];
  for (const [fields, number] of cases) {
    client.send(requestBytes(fields));
    await assert.rejects(answerOf(client), (error: unknown) => (error as { number?: number }).number === number, JSON.stringify(fields));
  }
  client.send(requestBytes({ type: CMD.READ, length: 512 }));
  assert.equal((await answerOf(client)).length, 512);
  client.send(requestBytes({ type: CMD.WRITE, length: 0xffffffff }));
  assert.equal((await client.rest()).length, 0, 'a payload beyond the limits ends the connection');
});

test('an unknown export, an option too long and a handshake cut short end that connection only', async () => {
  await using under = await world();
  const endpoint = await under.dataPath.open(contractPlan(under.devices));
  assert.ok(endpoint.kind === 'nbd');
  await assert.rejects(connectGuest(endpoint.socketPath, 'web01/xvda@8'), /80000006/);
  const long = await connectRaw(endpoint.socketPath);
  await long.take(18);
  long.send(Buffer.concat([Buffer.from([0, 0, 0, 3]), optionBytes(OPT.GO, Buffer.alloc(70_000))]));
  assert.ok((await long.rest()).length <= 20);
  const short = await connectRaw(endpoint.socketPath);
  short.send(Buffer.concat([Buffer.from([0, 0, 0, 3]), optionBytes(OPT.GO, goData('')).subarray(0, 18)]));
  short.end();
  const guest = await connectGuest(endpoint.socketPath, endpoint.exportName);
  assert.equal((await guest.read(0, 512)).length, 512);
  await guest.end();
});

test('a VBD that was poisoned fails every flush, on every connection, and the daemon is told', async () => {
  await using under = await world();
  const endpoint = await under.dataPath.open(contractPlan(under.devices));
  const [first, second] = [await under.connect(endpoint, 7), await under.connect(endpoint, 7)];
  await first.write(0, new Uint8Array(512).fill(1));
  writeFileSync(vbdFolder(under.folder, 7).poisoned, 'write-back failed (error 5)');
  assert.deepEqual(await under.poisoned, [7, 'write-back failed (error 5)']);
  for (const guest of [first, second]) {
    await assert.rejects(guest.flush(), (error: unknown) => (error as { number?: number }).number === NBD_ERROR.EIO);
    assert.equal((await guest.read(0, 512))[0], 1, 'reads go on');
    await guest.end();
  }
});

test('a client that reconnects while its old process hangs never sees the older write win', async () => {
  await using under = await world();
  const endpoint = await under.dataPath.open(contractPlan(under.devices));
  assert.ok(endpoint.kind === 'nbd');
  const old = await connectRaw(endpoint.socketPath);
  await handshakeRaw(old, endpoint.exportName);
  const [hanging] = livingProcesses(vbdFolder(under.folder, 7));
  assert.ok(hanging !== undefined);
  process.kill(hanging, 'SIGSTOP');
  old.send(Buffer.concat([requestBytes({ type: CMD.WRITE, length: 512 }), Buffer.alloc(512, 1)]));
  old.end();
  const guest = await under.connect(endpoint, 7);
  assert.equal(livingProcesses(vbdFolder(under.folder, 7)).includes(hanging), false);
  await guest.write(0, new Uint8Array(512).fill(2));
  assert.deepEqual(await guest.read(0, 512), new Uint8Array(512).fill(2));
  await guest.end();
});

test('kill -9 of a connection process: what was flushed is there, and the client is served again', async () => {
  await using under = await world();
  const endpoint = await under.dataPath.open(contractPlan(under.devices));
  const guest = await under.connect(endpoint, 7);
  await guest.write(0, new Uint8Array(512).fill(1));
  await guest.flush();
  const [pid] = livingProcesses(vbdFolder(under.folder, 7));
  assert.ok(pid !== undefined);
  process.kill(pid, 'SIGKILL');
  await assert.rejects(guest.read(0, 512));
  const again = await under.connect(endpoint, 7);
  assert.deepEqual(await again.read(0, 512), new Uint8Array(512).fill(1));
  await again.end();
});

test('revoked again and again under writes: no byte changes after close() has returned', async () => {
  await using under = await world();
  for (let generation = 20; generation < 28; generation += 1) {
    const endpoint = await under.dataPath.open(contractPlan(under.devices, { generation, exportName: `web01/xvda@${generation}` }));
    assert.ok(endpoint.kind === 'nbd');
    const client = await connectRaw(endpoint.socketPath);
    await handshakeRaw(client, endpoint.exportName);
    const write = Buffer.concat([requestBytes({ type: CMD.WRITE, length: 64 * 1024 }), Buffer.alloc(64 * 1024, generation)]);
    for (let count = 0; count < 40; count += 1) client.send(write);
    await answerOf(client);
    await under.dataPath.close(generation);
    const owner = new Uint8Array(CONTRACT_DEVICE_BYTES).fill(generation + 100);
    for (const { path } of under.devices) writeFileSync(path, owner);
    await client.rest();
    for (const { path } of under.devices) assert.deepEqual(await under.contentOf(path), owner, 'the next owner keeps its bytes');
  }
});
