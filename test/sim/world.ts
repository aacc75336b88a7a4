// The whole product in one process, without a disk, a clock or a guest: what the simulation steps through.

import { keyedQueue } from '../../src/base/keyed-queue.ts';
import { MIB, wallMs } from '../../src/base/units.ts';
import type { System } from '../../src/app/system.ts';
import { leaseMemory } from '../../src/app/keep-leases.ts';
import type { LeaseMemory } from '../../src/app/keep-leases.ts';
import { openMemoryCatalog } from '../../src/catalog/memory/open.ts';
import { openMemoryDataPath } from '../../src/datapath/memory/open-memory-data-path.ts';
import type { MemoryDataPath } from '../../src/datapath/memory/open-memory-data-path.ts';
import { openSimulatedHost } from '../../src/host/simulated/open-simulated-host.ts';
import type { SimulatedHost } from '../../src/host/simulated/open-simulated-host.ts';
import { openFakeHypervisor } from '../../src/hypervisor/fake/open-fake-hypervisor.ts';
import type { FakeHypervisor } from '../../src/hypervisor/fake/open-fake-hypervisor.ts';

export const DEVICES = ['/dev/sda', '/dev/sdb', '/dev/sdc'] as const;
const START_MS = Date.UTC(2026, 10, 23);

export type World = {
  readonly system: System;
  readonly host: SimulatedHost;
  readonly dataPath: MemoryDataPath;
  readonly qemu: FakeHypervisor;
  memory: LeaseMemory;
  readonly time: { wallMs: number; sinceBootMs: number };
  advance(ms: number): void;
};

export async function openWorld(): Promise<World> {
  const time = { wallMs: START_MS, sinceBootMs: 1_000_000 };
  let uuids = 0;
  let draws = 0;
  const random = { uuid: () => `00000000-0000-4000-8000-${String((uuids += 1)).padStart(12, '0')}`, integer: (limit: number) => (draws += 7) % limit };
  const host = openSimulatedHost(DEVICES.map((path, index) => ({ path, sizeBytes: (10 + 3 * index) * MIB })));
  const dataPath = openMemoryDataPath({ bytesOf: (path) => host.store(path), verify: (device) => host.verify(device) });
  const thisHost = openFakeHypervisor({ name: 'host' });
  const qemu = openFakeHypervisor({ name: 'qemu', domains: ['web01', 'web02'] });
  let bootId = await host.bootId();
  const system: System = {
    catalog: await openMemoryCatalog({ random }),
    host: { ...host, bootId: async () => (bootId = await host.bootId()) },
    clock: { read: () => ({ wallMs: wallMs(time.wallMs), bootId, sinceBootMs: time.sinceBootMs, synchronised: true }) },
    random,
    hostName: 'sim',
    dataPaths: [dataPath],
    hypervisors: [thisHost, qemu],
    queue: keyedQueue(),
  };
  return {
    system,
    host,
    dataPath,
    qemu,
    memory: leaseMemory(),
    time,
    advance(ms) {
      time.wallMs += ms;
      time.sinceBootMs += ms;
    },
  };
}
