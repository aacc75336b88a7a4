// The contract of the DataPath port as tests, run on every implementation. `open` gives a data path and a plan for it: a VBD
// of 96 KiB in three segments out of order on two devices of a MiB that are filled with 0xee.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytes } from '../base/units.ts';
import type { Endpoint, Generation, PlanDevice, VbdPlan } from '../core/types.ts';
import type { DataPath } from './datapath.ts';

/** A guest's end of a VBD. */
export type GuestEnd = {
  read(offset: number, length: number): Promise<Uint8Array>;
  write(offset: number, data: Uint8Array): Promise<void>;
  flush(): Promise<void>;
  /** Goes, without a word. */
  end(): Promise<void>;
};

export type DataPathUnderTest = AsyncDisposable & {
  readonly dataPath: DataPath;
  readonly devices: readonly PlanDevice[];
  connect(endpoint: Endpoint, generation: Generation): Promise<GuestEnd>;
  /** What a device holds, as everybody else on the host sees it. */
  contentOf(path: string): Promise<Uint8Array>;
  /** Another daemon after the first has ended. */
  nextDaemon(): Promise<DataPath>;
};

const KIB = 1024;
export const CONTRACT_DEVICE_BYTES = 1024 * KIB;

export function contractPlan(devices: readonly PlanDevice[], over: Partial<VbdPlan> = {}): VbdPlan {
  const segment = (deviceIndex: number, offset: number, length: number) => ({
    deviceIndex,
    offsetBytes: bytes(offset * KIB),
    lengthBytes: bytes(length * KIB),
  });
  return {
    generation: 7,
    exportName: 'web01/xvda@7',
    mode: 'w',
    sizeBytes: bytes(96 * KIB),
    blockBytes: 512,
    cache: 'writeback',
    devices,
    segments: [segment(1, 512, 32), segment(0, 128, 16), segment(1, 64, 48)],
    ...over,
  };
}

const filled = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value);

export function dataPathContract(name: string, open: () => Promise<DataPathUnderTest>): void {
  const check = (says: string, body: (under: DataPathUnderTest) => Promise<void>): void => {
    test(`${name}: ${says}`, async () => {
      await using under = await open();
      await body(under);
    });
  };

  check('F1, F2: bytes go where the segments say, across their borders, and nowhere else', async (under) => {
    const plan = contractPlan(under.devices);
    const guest = await under.connect(await under.dataPath.open(plan), 7);
    const data = Uint8Array.from({ length: 32 * KIB }, (_, index) => (index % 251) + 1);
    await guest.write(24 * KIB, data);
    await guest.flush();
    assert.deepEqual(await guest.read(24 * KIB, 32 * KIB), data);
    const [first, second] = await Promise.all(under.devices.map(({ path }) => under.contentOf(path)));
    assert.ok(first !== undefined && second !== undefined);
    assert.deepEqual(second.subarray(536 * KIB, 544 * KIB), data.subarray(0, 8 * KIB));
    assert.deepEqual(first.subarray(128 * KIB, 144 * KIB), data.subarray(8 * KIB, 24 * KIB));
    assert.deepEqual(second.subarray(64 * KIB, 72 * KIB), data.subarray(24 * KIB));
    first.fill(0xee, 128 * KIB, 144 * KIB);
    second.fill(0xee, 536 * KIB, 544 * KIB).fill(0xee, 64 * KIB, 72 * KIB);
    assert.ok(
      [first, second].every((device) => device.every((byte) => byte === 0xee)),
      'the neighbours kept their bytes',
    );
    await guest.end();
  });

  check('F14: a VBD ends where its disk ends', async (under) => {
    const guest = await under.connect(await under.dataPath.open(contractPlan(under.devices)), 7);
    assert.deepEqual(await guest.read(95 * KIB, KIB), filled(KIB, 0xee));
    await assert.rejects(guest.read(96 * KIB, 512));
    await assert.rejects(guest.write(96 * KIB - 512, filled(1024, 1)));
    assert.deepEqual(await guest.read(96 * KIB - 512, 512), filled(512, 0xee), 'a write that reaches past the end writes nothing');
    await guest.end();
  });

  check('a VBD for reading is never written', async (under) => {
    const guest = await under.connect(await under.dataPath.open(contractPlan(under.devices, { mode: 'r' })), 7);
    await assert.rejects(guest.write(0, filled(512, 1)));
    assert.deepEqual(await guest.read(0, 512), filled(512, 0xee));
    await guest.end();
  });

  check('open() can be repeated; close() ends what runs, and can be repeated', async (under) => {
    const plan = contractPlan(under.devices);
    const endpoint = await under.dataPath.open(plan);
    assert.deepEqual(await under.dataPath.open(plan), endpoint);
    const guest = await under.connect(endpoint, 7);
    await guest.write(0, filled(512, 1));
    assert.deepEqual(await under.dataPath.list(), [7]);
    assert.equal(await under.dataPath.isGone(7), false);
    await under.dataPath.close(7);
    assert.equal(await under.dataPath.isGone(7), true);
    assert.deepEqual(await under.dataPath.list(), []);
    await assert.rejects(guest.write(0, filled(512, 2)));
    const content = await under.contentOf(under.devices[1]?.path ?? '');
    assert.deepEqual(content.slice(512 * KIB, 512 * KIB + 512), filled(512, 1));
    await under.dataPath.close(7);
    assert.equal(await under.dataPath.stats(7), null);
  });

  check('a device that is not the one of the plan is not served', async (under) => {
    const missing = under.devices.map((device) => ({ ...device, path: `${device.path}-gone` }));
    await assert.rejects(under.dataPath.open(contractPlan(missing)), (error: unknown) => (error as { code?: string }).code === 'DEVICE_NOT_FOUND');
    assert.equal(await under.dataPath.isGone(7), true);
  });

  check('the next daemon finds what an earlier one left, takes it over, and can end it', async (under) => {
    const plan = contractPlan(under.devices);
    const guest = await under.connect(await under.dataPath.open(plan), 7);
    const next = await under.nextDaemon();
    assert.deepEqual(await next.list(), [7]);
    assert.equal(await next.isGone(7), false);
    await guest.write(0, filled(512, 3));
    const endpoint = await next.open(plan);
    assert.deepEqual(await (await under.connect(endpoint, 7)).read(0, 512), filled(512, 3));
    await next.close(7);
    assert.equal(await next.isGone(7), true);
    await assert.rejects(guest.read(0, 512));
  });

  check('stats() counts what was asked for', async (under) => {
    const guest = await under.connect(await under.dataPath.open(contractPlan(under.devices)), 7);
    const before = await under.dataPath.stats(7);
    await guest.write(0, filled(4096, 1));
    await guest.read(0, 512);
    await guest.flush();
    const after = await under.dataPath.stats(7);
    assert.ok(before !== null && after !== null);
    const grown = (key: 'reads' | 'writes' | 'readBytes' | 'writtenBytes') => after[key] - before[key];
    const { flushes, errors } = after;
    assert.deepEqual([grown('reads'), grown('readBytes'), grown('writtenBytes'), errors ?? 0], [1, 512, 4096, 0]);
    assert.deepEqual([grown('writes'), flushes], flushes === null ? [2, null] : [1, 1]);
    await guest.end();
  });
}
