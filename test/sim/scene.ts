// One history of the simulation: a world, the model of what its disks hold, and the steps that users, guests, time and bad luck
// take. After every step everything that can be reached is judged, and every byte that a VBD shows is compared with the model.

import assert from 'node:assert/strict';
import { checkPool } from '../../src/app/check-pool.ts';
import { createDisk } from '../../src/app/create-disk.ts';
import { deleteDisk } from '../../src/app/delete-disk.ts';
import { detachVbd } from '../../src/app/detach-vbd.ts';
import { formatDevice } from '../../src/app/format-device.ts';
import { listDevices } from '../../src/app/list-devices.ts';
import { reconcile } from '../../src/app/reconcile.ts';
import { leaseMemory, keepLeases } from '../../src/app/keep-leases.ts';
import { XvdError } from '../../src/base/error.ts';
import type { CatalogSystem, System } from '../../src/app/system.ts';
import type { ExpertLevel, Vbd } from '../../src/core/types.ts';
import { ChaosWorld } from './chaos-world.ts';
import type { Mutant } from './chaos-world.ts';
import { EXTENT_BYTES, POOL_DRIVES } from './drives.ts';
import { BLOCK, Model } from './model.ts';
import { SimProcess } from './process.ts';
import type { Chance, Fate } from './process.ts';

export type Ended = 'done' | 'refused' | 'died' | 'stopped';
type Stopped = { readonly process: SimProcess; readonly work: Promise<Ended> };

/** The errors that were planned, or that a user may be told; anything else is a bug of ours. */
async function answered(work: Promise<unknown>): Promise<Ended> {
  try {
    await work;
    return 'done';
  } catch (error) {
    if (!(error instanceof XvdError) || error.code === 'INTERNAL' || error.code === 'CATALOG_DAMAGED') throw error;
    return 'refused';
  }
}

export class Scene {
  readonly world: ChaosWorld;
  readonly model = new Model();
  readonly chance: Chance;
  #stamp = 0;
  #stopped: Stopped[] = [];
  #starting: Promise<Ended> | null = null;

  constructor(world: ChaosWorld, chance: Chance) {
    this.world = world;
    this.chance = chance;
  }

  static async open(chance: Chance, mutant: Mutant = {}): Promise<Scene> {
    const scene = new Scene(await ChaosWorld.open(chance, mutant), chance);
    await scene.command((system) => formatDevice(system, { device: POOL_DRIVES[0], extentBytes: EXTENT_BYTES }));
    return scene;
  }

  /** A command is a process of its own. */
  async command(body: (system: CatalogSystem) => Promise<unknown>, fate: Fate | null = null): Promise<Ended> {
    const process = new SimProcess(this.chance, fate);
    const work = answered(body(this.world.commandSystem(process)));
    const ended = await Promise.race([work, process.rests.then((): Ended => (process.isDead ? 'died' : 'stopped'))]);
    if (ended === 'stopped') this.#stopped.push({ process, work });
    return ended;
  }

  /** The daemon does it; one is started first where none runs. A daemon can't be stopped: it holds its lock, and nothing goes on. */
  async daemon(body: (system: System) => Promise<unknown>, fate: Fate | null = null, expert: ExpertLevel | null = 0): Promise<Ended> {
    const process = await this.#listening();
    if (fate !== null) process.meet(fate.what === 'stop' ? { ...fate, what: 'kill' } : fate);
    const ended = await Promise.race([answered(body(this.world.daemonSystem(expert))), process.died.then((): Ended => 'died')]);
    if (fate !== null) process.meet(null);
    return ended;
  }

  /** One that starts does not listen yet; where none runs one is started. */
  async #listening(): Promise<SimProcess> {
    for (;;) {
      const { daemon } = this.world;
      if (this.#starting !== null) await this.#starting;
      else if (daemon === null || daemon.isDead) await this.restart();
      else return daemon;
    }
  }

  /** A daemon whose start fails ends. */
  async restart(fate: Fate | null = null): Promise<Ended> {
    while (this.#starting !== null) await this.#starting;
    const starting = this.#start(fate);
    this.#starting = starting;
    return starting.finally(() => (this.#starting = null));
  }

  async #start(fate: Fate | null): Promise<Ended> {
    const process = this.world.startDaemon();
    if (fate !== null) process.meet(fate.what === 'stop' ? { ...fate, what: 'kill' } : fate);
    const ended = await Promise.race([answered(reconcile(this.world.daemonSystem())), process.died.then((): Ended => 'died')]);
    if (fate === null) assert.notEqual(ended, 'refused', 'a daemon starts whatever it finds');
    process.meet(null);
    if (ended !== 'done') process.kill();
    return ended;
  }

  async wake(): Promise<void> {
    const waking = this.#stopped;
    this.#stopped = [];
    for (const { process, work } of waking) {
      process.wake();
      await Promise.race([work, process.died]);
    }
  }

  async hostCrashes(): Promise<void> {
    for (const { process } of this.#stopped) process.kill();
    this.#stopped = [];
    const before = await this.vbds();
    await this.world.hostCrashes();
    const places = await this.#places();
    this.model.hostCrashed((disk, block) => places(disk, block));
    for (const { source } of before) if (source.kind === 'vd') this.model.fenced(source.diskId);
  }

  vbds(): Promise<readonly Vbd[]> {
    return this.world.catalog.read((reader) => reader.vbds());
  }

  /** A guest writes, through whatever path is still open to it. */
  async write(pick: number, at: number): Promise<void> {
    const open: Vbd[] = [];
    for (const generation of await this.world.dataPath.list()) {
      const row = await this.world.catalog.read((reader) => reader.vbd(generation));
      if (row?.mode === 'w' && row.source.kind === 'vd') open.push(row);
    }
    const vbd = open[pick % Math.max(1, open.length)];
    if (vbd?.source.kind !== 'vd') return;
    this.#stamp = 1 + (this.#stamp % 250);
    const block = at % (vbd.sizeBytes / BLOCK);
    this.world.dataPath.write(vbd.generation, block * BLOCK, new Uint8Array(BLOCK).fill(this.#stamp));
    this.model.write(vbd.source.diskId, block, this.#stamp, { generation: vbd.generation, direct: vbd.cache === 'none' });
  }

  async flush(pick: number): Promise<void> {
    const open = await this.world.dataPath.list();
    const generation = open[pick % Math.max(1, open.length)];
    const row = generation === undefined ? null : await this.world.catalog.read((reader) => reader.vbd(generation));
    if (generation === undefined || row?.source.kind !== 'vd') return;
    this.world.dataPath.flush(generation);
    this.model.flushed(row.source.diskId, generation);
  }

  /** I1 to I4, now. */
  async judge(): Promise<void> {
    await this.world.judge();
    assert.deepEqual(this.world.found, []);
    const rows = await this.vbds();
    const reached = new Set(rows.map(({ source }) => (source.kind === 'vd' ? source.diskId : 0)));
    for (const disk of await this.world.catalog.read((reader) => reader.disks({ which: 'all', now: this.world.clock.read().wallMs }))) {
      if (!reached.has(disk.id)) this.model.fenced(disk.id);
    }
    const open = new Set(await this.world.dataPath.list());
    for (const { generation, source, sizeBytes } of rows) {
      if (source.kind !== 'vd' || !open.has(generation)) continue;
      const content = this.world.dataPath.read(generation, 0, sizeBytes);
      for (let block = 0; block < sizeBytes / BLOCK; block += 1) {
        const found = content[block * BLOCK] ?? -1;
        assert.ok(this.model.reads(source.diskId, block, found), `I4: block ${block} of vd:${source.diskId} reads as ${found}`);
      }
    }
  }

  /** Luck turns: everybody wakes, lets go and ends. Then nothing is left over, and all space can be had again. */
  async end(): Promise<void> {
    const { world } = this;
    await this.wake();
    for (const generation of await world.dataPath.list()) world.dataPath.letGo(generation);
    world.host.setUsers([]);
    await this.restart();
    await this.judge();
    assert.equal(await this.daemon((system) => keepLeases(system, leaseMemory())), 'done');
    for (const { target, domain } of await this.vbds()) assert.equal(await this.daemon((system) => detachVbd(system, { target, domain, force: true })), 'done');
    // What could not come back after a crash of the host is told by check until somebody gives it up.
    for (const { target, domain } of await this.#promised()) assert.equal(await this.daemon((system) => detachVbd(system, { target, domain })), 'done');
    await this.daemon((system) => checkPool(system, { repair: true }));
    await this.judge();
    assert.deepEqual((await checkPool(world.daemonSystem())).problems, [], 'nothing is left to mend');
    await this.daemon(async (system) => {
      for (const disk of await system.catalog.read((reader) => reader.disks({ which: 'living', now: this.world.clock.read().wallMs })))
        await deleteDisk(system, { disk: String(disk.id) });
    });
    const devices = await listDevices(world.daemonSystem());
    for (const device of devices) assert.equal(device.freeBytes + device.badBytes, device.totalBytes, 'no space is lost');
    const free = devices.reduce((sum, device) => sum + device.freeBytes, 0);
    if (free > 0) assert.equal(await this.command((system) => createDisk(system, { sizeBytes: free })), 'done', 'all of it can be had');
    assert.deepEqual([await world.dataPath.list(), await world.qemu.plugged(), await world.thisHost.plugged()], [[], [], []]);
    await this.judge();
  }

  async #promised(): Promise<readonly Pick<Vbd, 'target' | 'domain'>[]> {
    const intents = await this.world.catalog.read((reader) => reader.intents());
    return intents.flatMap((intent) => (intent.kind === 'attach' ? [intent.value.vbd] : []));
  }

  /** What a block of a disk holds on its device, without any cache. */
  async #places(): Promise<(disk: number, block: number) => number | null> {
    const { devices, runs } = await this.world.catalog.read(async (reader) => ({ devices: await reader.devices(), runs: await reader.ownedRuns() }));
    return (disk, block) => {
      let offset = block * BLOCK;
      for (const run of runs.filter(({ diskId }) => diskId === disk).toSorted((a, b) => a.position - b.position)) {
        const device = devices.find(({ id }) => id === run.deviceId);
        if (device === undefined) return null;
        const length = run.count * device.extentBytes;
        if (offset < length)
          return this.world.host.store(device.path).readDirect(device.dataStartBytes + run.firstExtent * device.extentBytes + offset, 1)[0] ?? null;
        offset -= length;
      }
      return null;
    };
  }
}
