import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytes } from '../../base/units.ts';
import { openSimulatedHost } from '../../host/simulated/open-simulated-host.ts';
import type { SimulatedHost } from '../../host/simulated/open-simulated-host.ts';
import { CONTRACT_DEVICE_BYTES, contractPlan, dataPathContract } from '../contract.ts';
import type { DataPathUnderTest } from '../contract.ts';
import { openMemoryDataPath } from './open-memory-data-path.ts';
import type { MemoryDataPath } from './open-memory-data-path.ts';

type World = DataPathUnderTest & { readonly host: SimulatedHost; readonly dataPath: MemoryDataPath };

async function world(): Promise<World> {
  const paths = ['/dev/sda', '/dev/sdb'];
  const host = openSimulatedHost(paths.map((path) => ({ path, sizeBytes: CONTRACT_DEVICE_BYTES })));
  for (const path of paths) host.store(path).writeDirect(0, new Uint8Array(CONTRACT_DEVICE_BYTES).fill(0xee));
  const devices = (await Promise.all(paths.map((path) => host.inspect(path)))).map(({ path, kind, identity, sizeBytes }) => ({
    path,
    kind,
    identity,
    sizeBytes: bytes(sizeBytes),
  }));
  const dataPath = openMemoryDataPath({ bytesOf: (path) => host.store(path), verify: (device) => host.verify(device) });
  return {
    host,
    dataPath,
    devices,
    connect: async (_, generation) => ({
      read: async (offset, length) => dataPath.read(generation, offset, length),
      write: async (offset, data) => dataPath.write(generation, offset, data),
      flush: async () => dataPath.flush(generation),
      end: async () => {},
    }),
    contentOf: async (path) => host.store(path).readCached(0, CONTRACT_DEVICE_BYTES),
    async nextDaemon() {
      dataPath.restartDaemon();
      return dataPath;
    },
    [Symbol.asyncDispose]: () => dataPath[Symbol.asyncDispose](),
  };
}

dataPathContract('memory', world);

test('what hangs is not proved gone, and close() says so until it lets go', async () => {
  await using under = await world();
  await under.dataPath.open(contractPlan(under.devices));
  under.dataPath.hang(7);
  await assert.rejects(under.dataPath.close(7), (error: unknown) => (error as { code?: string }).code === 'FENCE_UNPROVED');
  assert.equal(await under.dataPath.isGone(7), false);
  under.dataPath.letGo(7);
  await under.dataPath.close(7);
  assert.equal(await under.dataPath.isGone(7), true);
});

test('only what was flushed survives a crash of the host', async () => {
  await using under = await world();
  await under.dataPath.open(contractPlan(under.devices));
  under.dataPath.write(7, 0, new Uint8Array(4096).fill(1));
  under.dataPath.flush(7);
  under.dataPath.write(7, 4096, new Uint8Array(4096).fill(2));
  under.host.store('/dev/sdb').loseCache();
  under.dataPath.reboot();
  assert.equal(await under.dataPath.isGone(7), true);
  await under.dataPath.open(contractPlan(under.devices));
  assert.deepEqual(under.dataPath.read(7, 0, 4096), new Uint8Array(4096).fill(1));
  assert.deepEqual(under.dataPath.read(7, 4096, 4096), new Uint8Array(4096).fill(0xee));
});
