// The contract of the Host port as tests, run on every implementation. `open` gives a host with one device of 8 MiB.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytes, MIB } from '../base/units.ts';
import type { PlanDevice } from '../core/types.ts';
import { encodeLabel } from '../core/label.ts';
import type { DeviceFacts, Host } from './host.ts';

export type HostUnderTest = AsyncDisposable & {
  readonly host: Host;
  readonly path: string;
  /** Writes through the page cache and leaves the pages there, as a data path with a cache does. */
  writeCached(offsetBytes: number, data: Uint8Array): Promise<void>;
};

export const CONTRACT_DEVICE_BYTES = 8 * MIB;

const planOf = ({ path, kind, identity, sizeBytes }: DeviceFacts): PlanDevice => ({ path, kind, identity, sizeBytes });
const range = (offset: number, length: number): { offsetBytes: ReturnType<typeof bytes>; lengthBytes: ReturnType<typeof bytes> } => ({
  offsetBytes: bytes(offset),
  lengthBytes: bytes(length),
});
const filled = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value);
const code = (expected: string) => (error: unknown) => (error as { code?: string }).code === expected;

export function hostContract(name: string, open: () => Promise<HostUnderTest>): void {
  test(`${name}: inspect() tells size, identity and footprint`, async () => {
    await using under = await open();
    const facts = await under.host.inspect(under.path);
    assert.equal(facts.sizeBytes, CONTRACT_DEVICE_BYTES);
    assert.equal(facts.footprint.own[0]?.sectors, CONTRACT_DEVICE_BYTES / 512);
    assert.deepEqual((await under.host.inspect(under.path)).identity, facts.identity);
    await assert.rejects(under.host.inspect('/dev/no-such-device-of-xvd'), code('DEVICE_NOT_FOUND'));
  });

  test(`${name}: verify() takes the device, and no other size or identity`, async () => {
    await using under = await open();
    const device = planOf(await under.host.inspect(under.path));
    await under.host.verify(device);
    await assert.rejects(under.host.verify({ ...device, sizeBytes: bytes(device.sizeBytes - 4096) }), code('DEVICE_IDENTITY_MISMATCH'));
    await assert.rejects(under.host.verify({ ...device, identity: { kind: 'dm', uuid: 'another' } }), code('DEVICE_IDENTITY_MISMATCH'));
    await assert.rejects(under.host.verify({ ...device, path: `${device.path}-gone` }), code('DEVICE_NOT_FOUND'));
  });

  test(`${name}: a labelled device is known by its label`, async () => {
    await using under = await open();
    const device = planOf(await under.host.inspect(under.path));
    const labelled: PlanDevice = { ...device, identity: { kind: 'label', deviceUuid: 'device-1' } };
    await assert.rejects(under.host.verify(labelled), code('DEVICE_IDENTITY_MISMATCH'));
    const label = {
      deviceUuid: 'device-1',
      catalogId: 'c',
      host: 'h',
      pool: 'default',
      sizeBytes: device.sizeBytes,
      extentBytes: 65536,
      dataStartBytes: MIB,
      commitNumber: 1,
      highestDiskId: 0,
    };
    await under.host.writeBytes(device, bytes(0), encodeLabel(label));
    await under.host.verify(labelled);
    await assert.rejects(under.host.verify({ ...labelled, identity: { kind: 'label', deviceUuid: 'device-2' } }), code('DEVICE_IDENTITY_MISMATCH'));
  });

  test(`${name}: what writeBytes() wrote, readBytes() reads, also unaligned`, async () => {
    await using under = await open();
    const device = planOf(await under.host.inspect(under.path));
    await under.host.writeBytes(device, bytes(4096), filled(8192, 7));
    await under.host.writeBytes(device, bytes(4096 + 1000), filled(24, 9));
    const read = await under.host.readBytes(device, range(4096 + 990, 44));
    assert.deepEqual([...read], [...filled(10, 7), ...filled(24, 9), ...filled(10, 7)]);
    const tail = await under.host.readBytes(device, range(CONTRACT_DEVICE_BYTES - 512, 512));
    assert.equal(tail.length, 512);
    await assert.rejects(under.host.readBytes(device, range(CONTRACT_DEVICE_BYTES, 512)), code('DEVICE_FAILED'));
  });

  test(`${name}: zero() makes the ranges and nothing else read as zeros, tells progress, and stops when told`, async () => {
    await using under = await open();
    const device = planOf(await under.host.inspect(under.path));
    await under.host.writeBytes(device, bytes(0), filled(2 * MIB, 3));
    await under.writeCached(MIB, filled(4096, 5));
    const told: number[] = [];
    await under.host.zero(device, [range(65536, 65536), range(MIB, 65536)], (done) => void told.push(done));
    assert.equal(told.at(-1), 2 * 65536);
    for (const [offset, expected] of [
      [0, 3],
      [65535, 3],
      [65536, 0],
      [131071, 0],
      [131072, 3],
      [MIB, 0],
      [MIB + 65535, 0],
      [MIB + 65536, 3],
    ] as const) {
      assert.deepEqual([...(await under.host.readBytes(device, range(offset, 1)))], [expected], `byte ${offset}`);
    }
    const stop = new AbortController();
    stop.abort();
    await assert.rejects(under.host.zero(device, [range(0, 65536)], undefined, stop.signal));
    assert.deepEqual([...(await under.host.readBytes(device, range(0, 1)))], [3]);
  });

  test(`${name}: settle() brings what was written in the range to the device and leaves no page of it cached`, async () => {
    await using under = await open();
    const device = planOf(await under.host.inspect(under.path));
    await under.writeCached(65536, filled(65536, 8));
    await under.host.settle(device, [range(65536, 65536)]);
    assert.deepEqual([...(await under.host.readBytes(device, range(65536, 2)))], [8, 8]);
    await under.host.settle(device, [range(0, CONTRACT_DEVICE_BYTES)]);
  });

  test(`${name}: a space that is claimed is busy until the claim ends, and no other is`, async () => {
    await using under = await open();
    const { host } = under;
    {
      await using first = await host.claim(['drive:1:0', 'drive:1:1', 'drive:1:0']);
      void first;
      await assert.rejects(host.claim(['drive:1:2', 'drive:1:1']), code('DEVICE_BUSY'));
      await using other = await host.claim(['drive:1:2']);
      void other;
    }
    await using again = await host.claim(['drive:1:1', 'drive:1:2']);
    void again;
  });

  test(`${name}: a pipe proves that its holder is gone, however it ended`, async () => {
    await using under = await open();
    const { host } = under;
    assert.equal(await host.aliveIsGone('alive/one'), false, 'no proof without a pipe');
    const mark = await host.holdAlive('alive/one');
    const second = await host.holdAlive('alive/one');
    assert.ok(mark.pid > 0 && mark.startTicks > 0);
    assert.equal(await host.aliveIsGone('alive/one'), false);
    await mark[Symbol.asyncDispose]();
    assert.equal(await host.aliveIsGone('alive/one'), false, 'the second one holds it');
    await second[Symbol.asyncDispose]();
    assert.equal(await host.aliveIsGone('alive/one'), true);
    await host.forgetAlive('alive/one');
    assert.equal(await host.aliveIsGone('alive/one'), false);
    await using other = await host.holdAlive('wipe-two');
    void other;
    assert.deepEqual([await host.alivePipes('wipe-'), await host.alivePipes('copy-')], [['wipe-two'], []]);
    assert.equal(await host.bootId(), await host.bootId());
  });
}
