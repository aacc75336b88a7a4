import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { bytes } from '../../base/units.ts';
import type { VbdPlan } from '../../core/types.ts';
import { openSyscalls } from '../../host/syscalls.ts';
import { takeDevices } from './open-devices.ts';

const SIZE = bytes(4096);

test('the devices of a process are taken as they are; what has nothing in their places, as a spare that is not told yet, has none', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-take-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'device');
  writeFileSync(path, Buffer.alloc(SIZE, 7));
  const plan: VbdPlan = {
    generation: 1,
    exportName: 'a/xvda@1',
    mode: 'w',
    sizeBytes: SIZE,
    blockBytes: 512,
    cache: 'writeback',
    devices: [{ path, kind: 'file', identity: { kind: 'path', path }, sizeBytes: SIZE }],
    segments: [{ deviceIndex: 0, offsetBytes: bytes(0), lengthBytes: SIZE }],
  };
  const takenWith = async (named: string): Promise<ReturnType<typeof takeDevices>> => {
    const fd = openSync(named, 'r+');
    // In the place of the device and in that of its witness.
    const child = spawn('cat', { stdio: ['pipe', 'ignore', 'ignore', 'ignore', fd, fd] });
    closeSync(fd);
    const taken = takeDevices(plan, child.pid ?? 0, openSyscalls());
    child.stdin?.end();
    await once(child, 'exit');
    return taken;
  };
  assert.equal(await takenWith('/dev/null'), null);
  const taken = await takenWith(path);
  const fds = [...(taken?.devices ?? []), ...(taken?.witnesses ?? [])];
  const read = fds.map((fd) => {
    const block = Buffer.alloc(8);
    readSync(fd, block, 0, 8, 0);
    closeSync(fd);
    return block[0];
  });
  assert.deepEqual(read, [7, 7]);
});
