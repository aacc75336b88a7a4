// A data path in memory, on the bytes of a simulated host: the whole product runs on it in one process. Tests read and
// write through it as a guest would, let a connection hang in a dead device, and end the daemon under it.

import { XvdError } from '../../base/error.ts';
import { eachPiece, makeMap } from '../../core/extent-map.ts';
import type { ExtentMap } from '../../core/extent-map.ts';
import type { Driver, Endpoint, Generation, PlanDevice, VbdPlan } from '../../core/types.ts';
import type { DataPath, DataPathStats } from '../datapath.ts';

/** The bytes of one device behind a page cache. */
export type DeviceStore = {
  readCached(offsetBytes: number, lengthBytes: number): Uint8Array;
  readDirect(offsetBytes: number, lengthBytes: number): Uint8Array;
  writeCached(offsetBytes: number, data: Uint8Array): void;
  writeDirect(offsetBytes: number, data: Uint8Array): void;
  /** What is dirty of the range is on the device afterwards; throws when the device fails. */
  flush(offsetBytes: number, lengthBytes: number): void;
};

export type MemoryOptions = {
  readonly driver?: Driver;
  readonly bytesOf: (devicePath: string) => DeviceStore;
  readonly verify: (device: PlanDevice) => Promise<void>;
};

export interface MemoryDataPath extends DataPath {
  read(generation: Generation, offset: number, length: number): Uint8Array;
  write(generation: Generation, offset: number, data: Uint8Array): void;
  flush(generation: Generation): void;
  /** A process of the VBD hangs: nothing of it is proved gone until it is let go. */
  hang(generation: Generation): void;
  letGo(generation: Generation): void;
  /** A new daemon on the same host: knows nothing, finds what runs. */
  restartDaemon(): void;
  /** Every process is gone; what was not written back is the host's to lose. */
  reboot(): void;
}

type Served = {
  readonly plan: VbdPlan;
  readonly map: ExtentMap;
  readonly dirty: Set<number>;
  hangs: boolean;
  listening: boolean;
  poisoned: boolean;
  stats: DataPathStats;
};

const NONE: DataPathStats = { connections: 0, reads: 0, writes: 0, readBytes: 0, writtenBytes: 0, flushes: 0, errors: 0 };

export function openMemoryDataPath(options: MemoryOptions): MemoryDataPath {
  const served = new Map<Generation, Served>();
  const reach = (generation: Generation): Served => {
    const found = served.get(generation);
    if (found === undefined) throw new XvdError('VBD_NOT_FOUND', `nothing serves generation ${generation}`);
    return found;
  };
  return {
    driver: options.driver ?? 'nbd',
    async open(plan) {
      const known = served.get(plan.generation);
      if (known?.listening === true) return endpointOf(plan);
      for (const device of plan.devices) await options.verify(device);
      if (known === undefined)
        served.set(plan.generation, { plan, map: makeMap(plan.segments), dirty: new Set(), hangs: false, listening: true, poisoned: false, stats: NONE });
      else known.listening = true;
      return endpointOf(plan);
    },
    async close(generation) {
      const found = served.get(generation);
      if (found === undefined) return;
      found.listening = false;
      if (found.hangs) throw new XvdError('FENCE_UNPROVED', `a process of generation ${generation} hangs`);
      served.delete(generation);
    },
    isGone: async (generation) => !served.has(generation),
    list: async () => [...served.keys()],
    stats: async (generation) => served.get(generation)?.stats ?? null,
    read: (generation, offset, length) => readFrom(options, reach(generation), offset, length),
    write: (generation, offset, data) => writeTo(options, reach(generation), offset, data),
    flush: (generation) => flushAll(options, reach(generation)),
    hang: (generation) => void (reach(generation).hangs = true),
    letGo: (generation) => void (reach(generation).hangs = false),
    restartDaemon() {
      for (const found of served.values()) found.listening = false;
    },
    reboot: () => served.clear(),
    async [Symbol.asyncDispose]() {
      for (const found of served.values()) found.listening = false;
    },
  };
}

function endpointOf(plan: VbdPlan): Endpoint {
  const socketPath = `/simulated/vbd/${plan.generation}/nbd.sock`;
  return { kind: 'nbd', uri: `nbd+unix:///${encodeURIComponent(plan.exportName)}?socket=${socketPath}`, socketPath, exportName: plan.exportName };
}

function inside(plan: VbdPlan, offset: number, length: number): void {
  if (offset < 0 || length <= 0 || offset + length > plan.sizeBytes) throw new XvdError('VALUE_INVALID', 'the request lies outside the VBD');
}

const storeOf = (options: MemoryOptions, plan: VbdPlan, index: number): DeviceStore => options.bytesOf(plan.devices[index]?.path ?? '');

function readFrom(options: MemoryOptions, vbd: Served, offset: number, length: number): Uint8Array {
  inside(vbd.plan, offset, length);
  const data = new Uint8Array(length);
  eachPiece(vbd.map, offset, length, (device, deviceOffset, at, piece) => {
    const store = storeOf(options, vbd.plan, device);
    // Direct I/O writes back what is dirty of its range first, as the kernel's does.
    if (vbd.plan.cache === 'none') store.flush(deviceOffset, piece);
    data.set(vbd.plan.cache === 'none' ? store.readDirect(deviceOffset, piece) : store.readCached(deviceOffset, piece), at);
  });
  vbd.stats = { ...vbd.stats, reads: vbd.stats.reads + 1, readBytes: vbd.stats.readBytes + length };
  return data;
}

function writeTo(options: MemoryOptions, vbd: Served, offset: number, data: Uint8Array): void {
  if (vbd.plan.mode === 'r') throw new XvdError('NOT_PERMITTED', 'the VBD is for reading');
  inside(vbd.plan, offset, data.length);
  eachPiece(vbd.map, offset, data.length, (device, deviceOffset, at, piece, segment) => {
    const store = storeOf(options, vbd.plan, device);
    const part = data.subarray(at, at + piece);
    if (vbd.plan.cache === 'none') store.writeDirect(deviceOffset, part);
    else store.writeCached(deviceOffset, part);
    vbd.dirty.add(segment);
  });
  vbd.stats = { ...vbd.stats, writes: vbd.stats.writes + 1, writtenBytes: vbd.stats.writtenBytes + data.length };
}

function flushAll(options: MemoryOptions, vbd: Served): void {
  if (vbd.poisoned) throw new XvdError('DEVICE_FAILED', 'an earlier write-back of this VBD failed');
  for (const index of vbd.dirty) {
    const segment = vbd.plan.segments[index];
    if (segment === undefined) continue;
    try {
      storeOf(options, vbd.plan, segment.deviceIndex).flush(segment.offsetBytes, segment.lengthBytes);
    } catch (error) {
      vbd.poisoned = true;
      vbd.stats = { ...vbd.stats, errors: (vbd.stats.errors ?? 0) + 1 };
      throw error;
    }
  }
  vbd.dirty.clear();
  vbd.stats = { ...vbd.stats, flushes: (vbd.stats.flushes ?? 0) + 1 };
}
