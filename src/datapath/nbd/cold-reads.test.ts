// Reads that wait for the device go ahead of each other; each comes back with its own data, and a write among them is no matter.

import assert from 'node:assert/strict';
import { closeSync, fsyncSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { bytes, MIB } from '../../base/units.ts';
import { openSyscalls } from '../../host/syscalls.ts';
import { connectRaw, handshakeRaw, requestBytes } from './fixture-client.ts';
import { openTestVbd } from './fixture-vbd.ts';
import { CHUNK, CMD } from './wire/constants.ts';

const SIZE = 64 * MIB;
const BLOCK = 4096;
const RUN = SIZE / 4;
/** Of a drive out of order: the disk's run n is the file's run ORDER[n]. */
const ORDER = [2, 0, 3, 1];

/** Bytes that tell their place in the file. */
function contents(): Buffer {
  const all = Buffer.alloc(SIZE);
  for (let at = 0; at < SIZE; at += 8) all.writeDoubleLE(at, at);
  return all;
}

const fileOffset = (offset: number): number => (ORDER[Math.floor(offset / RUN)] ?? 0) * RUN + (offset % RUN);

test('reads of a cold disk are each answered with their own data, in whatever order', async () => {
  const data = contents();
  await using vbd = await openTestVbd((folder) => {
    const path = join(folder, 'device');
    writeFileSync(path, data);
    return {
      generation: 9,
      exportName: 'web01/xvda@9',
      mode: 'w',
      sizeBytes: bytes(SIZE),
      blockBytes: 512,
      cache: 'writeback',
      devices: [{ path, kind: 'file', identity: { kind: 'path', path }, sizeBytes: bytes(SIZE) }],
      segments: ORDER.map((run) => ({ deviceIndex: 0, offsetBytes: bytes(run * RUN), lengthBytes: bytes(RUN) })),
    };
  });
  const syscalls = openSyscalls();
  const fd = openSync(join(vbd.folder, 'device'), 'r+');
  const client = await connectRaw(vbd.socketPath);
  await handshakeRaw(client, 'web01/xvda@9');
  // 1,031 is prime: every block once, none beside its neighbour. Some cross a border between runs, some are longer than a slot.
  const blocks = SIZE / BLOCK;
  const offsets = Array.from({ length: 1500 }, (_, index) => ((index * 1031) % blocks) * BLOCK);
  for (let first = 0; first < offsets.length; first += 100) {
    fsyncSync(fd);
    assert.equal(syscalls?.dropCache(fd, 0, 0), 0);
    const asked = offsets.slice(first, first + 100).map((offset, index) => ({ offset, length: Math.min(SIZE - offset, index % 9 === 0 ? 40 * BLOCK : BLOCK) }));
    client.send(Buffer.concat(asked.map(({ offset, length }, cookie) => requestBytes({ type: CMD.READ, offset, length, cookie }))));
    const left = new Map(asked.map((one, cookie) => [cookie, one]));
    while (left.size > 0) {
      const head = await client.take(20);
      const answer = await client.take(head.readUInt32BE(16));
      assert.equal(head.readUInt16BE(6), CHUNK.OFFSET_DATA);
      const cookie = Number(head.readBigUInt64BE(8));
      const { offset, length } = left.get(cookie) ?? assert.fail(`cookie ${cookie} was answered already`);
      left.delete(cookie);
      assert.equal(Number(answer.readBigUInt64BE(0)), offset);
      const got = answer.subarray(8);
      assert.equal(got.length, length);
      for (let at = 0; at < length; at += BLOCK) assert.equal(got.readDoubleLE(at), fileOffset(offset + at));
      assert.ok(got.subarray(0, BLOCK).equals(data.subarray(fileOffset(offset), fileOffset(offset) + BLOCK)));
    }
  }
  client.end();
  closeSync(fd);
});
