// The ports as a process of the simulation sees them: each call can be its last one, or fail. What only the world may know
// (which expert level was asked for, when facts were read) is written down as it passes.

import type { ErrorCode } from '../../src/base/error.ts';
import { bytes } from '../../src/base/units.ts';
import type { Catalog, CatalogReader, CatalogWriter } from '../../src/catalog/catalog.ts';
import type { ExpertLevel, Generation, PlanDevice, SectorUser, VbdPlan } from '../../src/core/types.ts';
import type { DataPath } from '../../src/datapath/datapath.ts';
import type { ByteRange, Host } from '../../src/host/host.ts';
import type { Hypervisor } from '../../src/hypervisor/hypervisor.ts';
import type { Images } from '../../src/image/image.ts';
import type { SimProcess } from './process.ts';

/** What is told of one task of a process, while it runs. */
export type Watch = {
  /** The level that the user of the task gave. */
  readonly expert: ExpertLevel;
  recorded(generation: Generation, expert: ExpertLevel): void;
  committed(): Promise<void>;
  /** What others do on this host and in its domains, as the task was told. */
  readUsers(users: readonly SectorUser[]): void;
  readForeign(users: readonly SectorUser[]): void;
  opened(plan: VbdPlan): Promise<void>;
  zeroing(device: PlanDevice, range: ByteRange): Promise<void>;
};

type Method = (...args: never[]) => unknown;

/** Every method of the port through the process; those named in `own` by what is given there. */
function through<P extends object>(port: P, process: SimProcess, code: ErrorCode | null, own: Partial<P>): P {
  return new Proxy(port, {
    get(target, name) {
      const mine: unknown = Reflect.get(own, name);
      if (mine !== undefined) return mine;
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function' || typeof name !== 'string' || name === 'watchEnds') return value;
      return (...args: never[]) => process.call(async () => (value as Method).apply(target, args), code);
    },
  });
}

export function catalogOf(catalog: Catalog, process: SimProcess, watch: Watch): Catalog {
  const writerOf = (writer: CatalogWriter): CatalogWriter =>
    through(writer, process, 'CATALOG_LOCKED', {
      addVbd: async (row) => {
        const added = await process.call(() => writer.addVbd(row), 'CATALOG_LOCKED');
        watch.recorded(added.generation, watch.expert);
        return added;
      },
    });
  // Reads of one state: the process can die between them, which changes nothing.
  const readerOf = (reader: CatalogReader): CatalogReader => reader;
  return through(catalog, process, 'CATALOG_LOCKED', {
    read: (body) => process.call(() => catalog.read((reader) => process.inTransaction(() => body(readerOf(reader)))), 'CATALOG_LOCKED'),
    // A write that fails has changed nothing (the port's contract), so it never fails after it was committed.
    write: async (body) => {
      await process.call(async () => undefined, 'CATALOG_LOCKED');
      return process.call(async () => {
        const result = await catalog.write((writer) => process.inTransaction(() => body(writerOf(writer))));
        await watch.committed();
        return result;
      }, null);
    },
  });
}

export function hostOf(host: Host, process: SimProcess, watch: Watch): Host {
  return through(host, process, 'DEVICE_FAILED', {
    users: async () => {
      const users = await process.call(() => host.users(), 'DEVICE_FAILED');
      watch.readUsers(users);
      return users;
    },
    /** Half by half: a wiper that is stopped goes on with the rest. */
    zero: async (device, ranges, progress) => {
      for (const { offsetBytes, lengthBytes } of ranges) {
        const half = lengthBytes - (lengthBytes % 8192 === 0 ? lengthBytes / 2 : 0);
        for (const [offset, length] of [
          [offsetBytes, half],
          [offsetBytes + half, lengthBytes - half],
        ] as const) {
          const part = { offsetBytes: bytes(offset), lengthBytes: bytes(length) };
          if (length > 0)
            await process.call(async () => {
              await watch.zeroing(device, part);
              await host.zero(device, [part], progress);
            }, 'DEVICE_FAILED');
        }
      }
    },
    claim: (spaces) =>
      process.call(async () => {
        const claim = await host.claim(spaces);
        const end = async (): Promise<void> => claim[Symbol.asyncDispose]();
        process.onDeath(() => void end());
        return { [Symbol.asyncDispose]: () => process.call(end, null) };
      }, 'DEVICE_BUSY'),
    holdAlive: (pipe) =>
      process.call(async () => {
        const mark = await host.holdAlive(pipe);
        const close = async (): Promise<void> => mark[Symbol.asyncDispose]();
        process.onDeath(() => void close());
        return { pid: mark.pid, startTicks: mark.startTicks, [Symbol.asyncDispose]: () => process.call(close, null) };
      }, 'NOT_PERMITTED'),
  });
}

export function dataPathOf(dataPath: DataPath, process: SimProcess, watch: Watch): DataPath {
  return through(dataPath, process, 'DEVICE_FAILED', {
    open: (plan) =>
      process.call(async () => {
        const isNew = await dataPath.isGone(plan.generation);
        const endpoint = await dataPath.open(plan);
        // A copy is of this process: its program and its connections end with it.
        if (plan.pipe !== undefined) process.onDeath(() => void dataPath.close(plan.generation));
        if (isNew) await watch.opened(plan);
        return endpoint;
      }, 'DEVICE_FAILED'),
  });
}

export const imagesOf = (images: Images, process: SimProcess): Images => through(images, process, 'PROGRAM_FAILED', {});

export function hypervisorOf(hypervisor: Hypervisor, process: SimProcess, watch: Watch): Hypervisor {
  return through(hypervisor, process, 'HYPERVISOR_FAILED', {
    foreignUsers: async () => {
      const users = await process.call(() => hypervisor.foreignUsers(), 'HYPERVISOR_FAILED');
      watch.readForeign(users);
      return users;
    },
  });
}
