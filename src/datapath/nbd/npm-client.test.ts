// The NBD client of Xen Orchestra, an npm package: it asks for an export by name alone (no structured replies), reads blocks on
// one connection or several, and takes a map of the disk for its backups. It speaks TCP; a path in place of the port is a socket.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import NbdClient from '@vates/nbd-client';
import MultiNbdClient from '@vates/nbd-client/multi.mjs';
import { NbdDisk } from '@vates/nbd-client/NbdDisk.mjs';
import { bytes, MIB } from '../../base/units.ts';
import type { VbdPlan } from '../../core/types.ts';
import { openTestVbd } from './fixture-vbd.ts';
import type { TestVbd } from './fixture-vbd.ts';
import { livingProcesses } from './process-records.ts';
import { vbdFolder } from './vbd-folder.ts';

const BLOCK_BYTES = 64 * 1024;
/** Its last block is a short one. */
const DISK_BYTES = 8 * MIB - 3 * 512;

/** Two runs out of order on a sparse file: of the disk, bytes 2 MiB to 4 MiB and its last half MiB are data. */
const sparse = (): Promise<TestVbd> =>
  openTestVbd((folder): VbdPlan => {
    const path = join(folder, 'sparse');
    const fd = openSync(path, 'w');
    ftruncateSync(fd, 8 * MIB);
    writeSync(fd, patterned(2 * MIB, 1), 0, 2 * MIB, 6 * MIB);
    writeSync(fd, patterned(MIB / 2, 2), 0, MIB / 2, 3.5 * MIB);
    closeSync(fd);
    const segment = (offset: number, length: number) => ({ deviceIndex: 0, offsetBytes: bytes(offset), lengthBytes: bytes(length) });
    return {
      generation: 3,
      exportName: 'web01/xvda@3',
      mode: 'r',
      sizeBytes: bytes(DISK_BYTES),
      blockBytes: 512,
      cache: 'writeback',
      devices: [{ path, kind: 'file', identity: { kind: 'path', path }, sizeBytes: bytes(8 * MIB) }],
      segments: [segment(4 * MIB, 4 * MIB), segment(0, DISK_BYTES - 4 * MIB)],
    };
  });

function patterned(length: number, seed: number): Buffer {
  const data = Buffer.alloc(length);
  for (let at = 0; at < length; at += 4) data.writeUInt32LE(((at + seed) * 2654435761) >>> 0, at);
  return data;
}

const expected = (): Buffer =>
  Buffer.concat([Buffer.alloc(2 * MIB), patterned(2 * MIB, 1), Buffer.alloc(3.5 * MIB), patterned(MIB / 2, 2)]).subarray(0, DISK_BYTES);

const overSocket = ({ socketPath, plan }: TestVbd) => ({ address: 'localhost', port: socketPath, exportname: plan.exportName });

/** TCP without TLS, which xvd itself does not serve: every connection is passed on to the VBD's socket. */
async function overTcp(t: TestContext, { socketPath, plan }: TestVbd) {
  const relay = createServer((here) => {
    const there = connect(socketPath);
    for (const [from, to] of [
      [here, there],
      [there, here],
    ] as const) {
      from.pipe(to);
      from.on('error', () => to.destroy());
    }
  });
  t.after(() => relay.close());
  await once(relay.listen(0, '127.0.0.1'), 'listening');
  return { address: '127.0.0.1', port: (relay.address() as AddressInfo).port, exportname: plan.exportName };
}

test('the npm client maps the disk over TCP and reads its blocks, the short last one too', async (t) => {
  await using vbd = await sparse();
  const disk = new NbdDisk(await overTcp(t, vbd), BLOCK_BYTES);
  await disk.init();
  t.after(() => disk.close());
  assert.equal(disk.getVirtualSize(), DISK_BYTES);
  const blocks = (from: number, to: number): number[] => Array.from({ length: (to - from) / BLOCK_BYTES }, (_, index) => from / BLOCK_BYTES + index);
  assert.deepEqual(disk.getBlockIndexes(), [...blocks(2 * MIB, 4 * MIB), ...blocks(7.5 * MIB, 8 * MIB)]);
  const padded = Buffer.concat([expected()], 8 * MIB);
  for (const index of [0, ...disk.getBlockIndexes()]) {
    const { data } = await disk.readBlock(index);
    assert.ok(data.equals(padded.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES)), `block ${index}`);
  }
  await disk.close();
});

test('the npm client reads the whole disk on four connections at once, and it is what the device holds', async () => {
  await using vbd = await sparse();
  const client = new MultiNbdClient(overSocket(vbd), { nbdConcurrency: 4, readAhead: 16 });
  await client.connect();
  assert.equal(livingProcesses(vbdFolder(vbd.folder, 3)).length, 4);
  const all = function* () {
    for (let index = 0; index * BLOCK_BYTES < DISK_BYTES; index += 1) yield { index, size: BLOCK_BYTES };
  };
  const parts: Buffer[] = [];
  for await (const part of client.readBlocks(all)) parts.push(part);
  await client.disconnect();
  assert.ok(Buffer.concat(parts).equals(expected()));
});

test('the npm client goes on by itself when its connection process is killed; a name that is not served fails its connect', async () => {
  await using vbd = await sparse();
  const client = new NbdClient(overSocket(vbd), { waitBeforeReconnect: 1 });
  await client.connect();
  assert.equal(client.exportSize, BigInt(DISK_BYTES));
  for (let round = 0; round < 2; round += 1) {
    const index = 32 + round;
    assert.ok((await client.readBlock(index)).equals(expected().subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES)));
    for (const pid of livingProcesses(vbdFolder(vbd.folder, 3))) process.kill(pid, 'SIGKILL');
  }
  assert.ok((await client.readBlock(63)).equals(expected().subarray(63 * BLOCK_BYTES, 64 * BLOCK_BYTES)));
  await client.disconnect();
  const stranger = new NbdClient({ ...overSocket(vbd), exportname: 'web01/xvda@2' });
  await assert.rejects(stranger.connect());
});
