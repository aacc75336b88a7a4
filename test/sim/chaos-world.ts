// The whole product in one process with processes that die: one catalog, one host, one data path and two hypervisors outlive any
// number of daemons and commands, each of which sees them through ports of its own.

import { keyedQueue } from '../../src/base/keyed-queue.ts';
import type { KeyedQueue } from '../../src/base/keyed-queue.ts';
import { wallMs } from '../../src/base/units.ts';
import { leaseMemory } from '../../src/app/keep-leases.ts';
import type { LeaseMemory } from '../../src/app/keep-leases.ts';
import type { CatalogSystem, Copies, System } from '../../src/app/system.ts';
import type { Catalog } from '../../src/catalog/catalog.ts';
import { openMemoryCatalog } from '../../src/catalog/memory/open.ts';
import type { ExpertLevel, Generation, SectorUser, VbdPlan } from '../../src/core/types.ts';
import type { DataPath } from '../../src/datapath/datapath.ts';
import { openMemoryDataPath } from '../../src/datapath/memory/open-memory-data-path.ts';
import type { MemoryDataPath } from '../../src/datapath/memory/open-memory-data-path.ts';
import type { Host } from '../../src/host/host.ts';
import { openSimulatedHost } from '../../src/host/simulated/open-simulated-host.ts';
import type { SimulatedHost } from '../../src/host/simulated/open-simulated-host.ts';
import { openFakeHypervisor } from '../../src/hypervisor/fake/open-fake-hypervisor.ts';
import type { FakeHypervisor } from '../../src/hypervisor/fake/open-fake-hypervisor.ts';
import { openMemoryImages } from '../../src/image/memory/open-memory-images.ts';
import type { MemoryImages } from '../../src/image/memory/open-memory-images.ts';
import { ownersOf, sharesTooMuch, violations } from './oracle.ts';
import type { Place, Truth } from './oracle.ts';
import { catalogOf, dataPathOf, hostOf, hypervisorOf, imagesOf } from './ports.ts';
import type { Watch } from './ports.ts';
import { SimProcess } from './process.ts';
import type { Chance } from './process.ts';
import { DRIVES, placesOf } from './drives.ts';

const START_MS = Date.UTC(2026, 10, 23);

/** A product that is wrong on purpose, to see that it is found out. */
export type Mutant = {
  readonly catalog?: (catalog: Catalog) => Catalog;
  readonly host?: (host: Host) => Host;
  readonly dataPath?: (dataPath: DataPath) => DataPath;
};

export class ChaosWorld implements Truth {
  readonly catalog: Catalog;
  readonly host: SimulatedHost;
  readonly dataPath: MemoryDataPath;
  readonly thisHost: FakeHypervisor;
  readonly qemu: FakeHypervisor;
  readonly plans = new Map<Generation, VbdPlan>();
  readonly experts = new Map<Generation, ExpertLevel>();
  readonly clock;
  /** What was found wrong so far. */
  readonly found: string[] = [];
  daemon: SimProcess | null = null;
  memory: LeaseMemory = leaseMemory();
  readonly #chance: Chance;
  readonly #mutant: Mutant;
  readonly #time = { wallMs: START_MS, sinceBootMs: 1_000_000, bootId: 'boot-1' };
  readonly images: MemoryImages;
  #copies: Copies = new Map();
  #queue: KeyedQueue = keyedQueue();
  #uuids = 0;
  #moments = 0;

  private constructor(catalog: Catalog, host: SimulatedHost, dataPath: MemoryDataPath, chance: Chance, mutant: Mutant) {
    this.catalog = catalog;
    this.host = host;
    this.dataPath = dataPath;
    this.thisHost = openFakeHypervisor({ name: 'host' });
    this.qemu = openFakeHypervisor({ name: 'qemu', domains: ['web01', 'web02'] });
    this.images = openMemoryImages(dataPath);
    this.#chance = chance;
    this.#mutant = mutant;
    const time = this.#time;
    this.clock = { read: () => ({ wallMs: wallMs(time.wallMs), bootId: time.bootId, sinceBootMs: time.sinceBootMs, synchronised: true }) };
  }

  static async open(chance: Chance, mutant: Mutant = {}): Promise<ChaosWorld> {
    const host = openSimulatedHost(DRIVES.map(({ path, sizeBytes, footprint }) => ({ path, sizeBytes, footprint })));
    const dataPath = openMemoryDataPath({ bytesOf: (path) => host.store(path), verify: (device) => host.verify(device) });
    const catalog = await openMemoryCatalog({ random: { uuid: () => '00000000-0000-4000-8000-00000000ca7a', integer: () => 0 }, eventsKept: 50 });
    return new ChaosWorld(catalog, host, dataPath, chance, mutant);
  }

  placesOf(device: string, fromByte: number, toByte: number): Place[] {
    return placesOf(device, fromByte, toByte);
  }

  advance(ms: number): void {
    this.#time.wallMs += ms;
    this.#time.sinceBootMs += ms;
  }

  /** A new daemon over what the last one left; it has not looked yet. */
  startDaemon(): SimProcess {
    this.daemon?.kill();
    this.dataPath.restartDaemon();
    this.memory = leaseMemory();
    this.#queue = keyedQueue();
    this.#copies = new Map();
    return (this.daemon = new SimProcess(this.#chance));
  }

  /** Power fails: every process is gone, what was not flushed may be lost. */
  async hostCrashes(): Promise<void> {
    this.daemon?.kill();
    this.daemon = null;
    this.host.reboot();
    this.dataPath.reboot();
    for (const generation of await this.thisHost.plugged()) await this.thisHost.unplug({ generation, domain: '0', target: '', force: true });
    for (const { name } of await this.qemu.domains()) this.qemu.endDomain(name);
    this.#time.bootId = await this.host.bootId();
    this.#time.wallMs += 30_000;
    this.#time.sinceBootMs = 10_000;
  }

  /** One task of the daemon, whose user gave that level. */
  daemonSystem(expert: ExpertLevel | null = null): System {
    const process = this.daemon;
    if (process === null) throw new RangeError('no daemon runs');
    const watch = this.#watch(expert);
    const dataPath = this.#mutant.dataPath?.(this.dataPath) ?? this.dataPath;
    return {
      ...this.commandSystem(process, watch),
      dataPaths: [dataPathOf(dataPath, process, watch)],
      hypervisors: [this.thisHost, this.qemu].map((hypervisor) => hypervisorOf(hypervisor, process, watch)),
      queue: this.#queue,
      images: imagesOf(this.images, process),
      copies: this.#copies,
    };
  }

  commandSystem(process: SimProcess, watch: Watch = this.#watch(0)): CatalogSystem {
    const catalog = this.#mutant.catalog?.(this.catalog) ?? this.catalog;
    return {
      catalog: catalogOf(catalog, process, watch),
      host: hostOf(this.#mutant.host?.(this.host) ?? this.host, process, watch),
      clock: this.clock,
      random: { uuid: () => `00000000-0000-4000-8000-${String((this.#uuids += 1)).padStart(12, '0')}`, integer: this.#chance },
      hostName: 'sim',
    };
  }

  async judge(): Promise<void> {
    this.found.push(...(await violations(this)));
  }

  #watch(expert: ExpertLevel | null): Watch {
    const told: { users: readonly SectorUser[]; foreign: SectorUser[]; usersAt: number; foreignAt: number; recorded: Map<Generation, number> } = {
      users: [],
      foreign: [],
      usersAt: 0,
      foreignAt: 0,
      recorded: new Map(),
    };
    const moment = (): number => (this.#moments += 1);
    return {
      expert: expert ?? 0,
      // Without a level of its own (a daemon that puts back what there was) the row's level counts.
      recorded: (generation, level) => {
        told.recorded.set(generation, moment());
        this.experts.set(generation, expert === null ? 2 : level);
      },
      committed: () => this.judge(),
      readUsers: (users) => {
        told.usersAt = moment();
        told.users = users;
        told.foreign = [];
      },
      readForeign: (users) => {
        told.foreignAt = moment();
        told.foreign.push(...users);
      },
      opened: async (plan) => {
        this.plans.set(plan.generation, plan);
        const recordedAt = told.recorded.get(plan.generation);
        if (recordedAt !== undefined && expert !== null) {
          if (told.usersAt < recordedAt || told.foreignAt < recordedAt)
            this.found.push(`I3: others were not looked at again before ${plan.exportName} was served`);
          this.found.push(...sharesTooMuch(this, plan, expert, [...told.users, ...told.foreign]));
        }
        await this.judge();
      },
      zeroing: async (device, { offsetBytes, lengthBytes }) => {
        const fault = await this.catalog.read(async (reader) => {
          const pooled = (await reader.devices()).find(({ path }) => path === device.path);
          if (pooled === undefined) return null; // format --wipe, before the device is in the pool
          const owners = ownersOf(pooled, await reader.ownedRuns());
          const wiped = new Set((await reader.workers()).map(({ diskId }) => diskId));
          const first = Math.floor((offsetBytes - pooled.dataStartBytes) / pooled.extentBytes);
          const end = Math.ceil((offsetBytes + lengthBytes - pooled.dataStartBytes) / pooled.extentBytes);
          const other = owners.slice(first, end).find((owner) => !wiped.has(owner));
          return other === undefined ? null : `I2: a wiper zeroes extents ${first} to ${end - 1} of ${device.path}, of which one is of ${other || 'nobody'}`;
        });
        if (fault !== null) this.found.push(fault);
      },
    };
  }
}
