import assert from 'node:assert/strict';
import { test } from 'node:test';
import { XvdError } from '../../base/error.ts';
import { CONTRACT_DEVICE_BYTES, hostContract } from '../contract.ts';
import { faultyHost } from './faulty-host.ts';
import { openSimulatedHost } from './open-simulated-host.ts';

hostContract('simulated host', async () => {
  const host = openSimulatedHost([{ path: '/dev/sim0', sizeBytes: CONTRACT_DEVICE_BYTES }]);
  return {
    host,
    path: '/dev/sim0',
    writeCached: async (offset, data) => host.store('/dev/sim0').writeCached(offset, data),
    [Symbol.asyncDispose]: async () => undefined,
  };
});

test('a page that was not settled lands later over what the next owner wrote', () => {
  const host = openSimulatedHost([{ path: '/dev/sim0', sizeBytes: CONTRACT_DEVICE_BYTES }]);
  const store = host.store('/dev/sim0');
  store.writeCached(0, new Uint8Array(4096).fill(1));
  assert.equal(store.readDirect(0, 1)[0], 0);
  store.landSome(() => true);
  assert.equal(store.readDirect(0, 1)[0], 1);
});

test('reboot() loses what was not flushed and ends every process', async () => {
  const host = openSimulatedHost([{ path: '/dev/sim0', sizeBytes: CONTRACT_DEVICE_BYTES }]);
  const before = await host.bootId();
  host.store('/dev/sim0').writeCached(0, new Uint8Array(4096).fill(1));
  host.reboot();
  assert.equal(host.store('/dev/sim0').readCached(0, 1)[0], 0);
  assert.notEqual(await host.bootId(), before);
});

test('faultyHost() fails before a call or after it', async () => {
  const host = openSimulatedHost([{ path: '/dev/sim0', sizeBytes: CONTRACT_DEVICE_BYTES }]);
  const { path, kind, identity, sizeBytes } = await host.inspect('/dev/sim0');
  const device = { path, kind, identity, sizeBytes };
  let after = false;
  const faulty = faultyHost(host, (call) => (call === 'writeBytes' ? { error: new XvdError('DEVICE_FAILED', 'planned'), after } : null));
  await assert.rejects(faulty.writeBytes(device, device.sizeBytes, new Uint8Array(0)), /planned/);
  after = true;
  await assert.rejects(faulty.writeBytes(device, 0 as never, new Uint8Array(512).fill(4)), /planned/);
  assert.equal(host.store('/dev/sim0').readDirect(0, 1)[0], 4);
  assert.equal((await faulty.inspect('/dev/sim0')).path, '/dev/sim0');
});
