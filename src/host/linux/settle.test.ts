import { execFileSync } from 'node:child_process';
import assert from 'node:assert/strict';
import { closeSync, openSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { bytes, MIB } from '../../base/units.ts';
import type { PlanDevice } from '../../core/types.ts';
import { openBadDevice } from '../../../test/bad-device.ts';
import type { BadDevice } from '../../../test/bad-device.ts';
import type { Host } from '../host.ts';
import { openPrograms } from '../programs.ts';
import { cachedPages } from './kernel-calls.ts';
import { openLinuxHost } from './open-linux-host.ts';

const PAGE_BYTES = 4096;
const SIZE_BYTES = 8 * MIB;
const range = (offset: number, length: number) => ({ offsetBytes: bytes(offset), lengthBytes: bytes(length) });

type Place = AsyncDisposable & { readonly folder: string; readonly bad: BadDevice; host(stallMs?: number): Host; loop(path: string): PlanDevice };

async function place(): Promise<Place> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'xvd-settle-'));
  stack.defer(() => rm(folder, { recursive: true }));
  const bad = stack.use(await openBadDevice(folder));
  const loops: string[] = [];
  stack.defer(() => loops.forEach((path) => execFileSync('losetup', ['--detach', path])));
  stack.defer(() => bad.hang(false));
  const programs = openPrograms({ searchPath: process.env['PATH'] ?? '' });
  const moved = stack.move();
  return {
    folder,
    bad,
    host: (stallMs) => openLinuxHost({ programs, runFolder: join(folder, 'run'), ...(stallMs === undefined ? {} : { stallMs }) }),
    loop(file) {
      const path = execFileSync('losetup', ['--find', '--show', file], { encoding: 'utf8' }).trim();
      loops.push(path);
      return { path, kind: 'block', identity: { kind: 'path', path }, sizeBytes: bytes(SIZE_BYTES) };
    },
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

/** Into the page cache, and no further. */
function writeCached({ path }: PlanDevice, offset: number, value: number): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, new Uint8Array(PAGE_BYTES).fill(value), 0, PAGE_BYTES, offset);
  closeSync(fd);
}

function cachedAt({ path }: PlanDevice, offset: number): number | null {
  const fd = openSync(path, 'r');
  try {
    return cachedPages(fd, offset, PAGE_BYTES);
  } finally {
    closeSync(fd);
  }
}

test('settle() of a device that hangs says so, however often it is asked for, and keeps nobody from another device', async () => {
  await using given = await place();
  const device = given.loop(given.bad.path);
  // Open throughout: whoever closes it last would wait for the device.
  const fd = openSync(device.path, 'r+');
  writeSync(fd, new Uint8Array(PAGE_BYTES).fill(7), 0, PAGE_BYTES, MIB);
  given.bad.hang(true);
  const hasty = given.host(100);
  // More often than there are threads to wait in.
  for (let attempt = 0; attempt < 6; attempt += 1)
    await assert.rejects(hasty.settle(device, [range(MIB, MIB)]), { code: 'FENCE_UNPROVED', message: /has not answered for 100 ms/ });
  const file = join(given.folder, 'well');
  execFileSync('truncate', ['--size', String(SIZE_BYTES), file]);
  const well = given.loop(file);
  writeCached(well, 0, 5);
  await given.host().settle(well, [range(0, MIB)]);
  given.bad.hang(false);
  await given.host().settle(device, [range(MIB, MIB)]);
  assert.equal((await given.bad.content())[MIB], 7);
  closeSync(fd);
});

test('settle() of ranges in any order leaves nothing of them cached, and what lies between them as it was', async () => {
  await using given = await place();
  const file = join(given.folder, 'well');
  execFileSync('truncate', ['--size', String(SIZE_BYTES), file]);
  const device = given.loop(file);
  const fd = openSync(device.path, 'r+');
  for (const [index, offset] of [0, MIB, 2 * MIB].entries()) writeSync(fd, new Uint8Array(PAGE_BYTES).fill(index + 1), 0, PAGE_BYTES, offset);
  const host = given.host();
  await host.settle(device, [range(2 * MIB, MIB), range(0, MIB)]);
  assert.deepEqual(
    [0, MIB, 2 * MIB].map((offset) => cachedAt(device, offset)),
    [0, 1, 0],
  );
  assert.equal((await host.readBytes(device, range(0, 1)))[0], 1);
  assert.equal((await host.readBytes(device, range(2 * MIB, 1)))[0], 3);
  closeSync(fd);
});
