// What every use case is given: the ports and the sources of time and chance, picked by the composition root.

import type { Clock, Random } from '../base/clock.ts';
import type { KeyedQueue } from '../base/keyed-queue.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { XvdError } from '../base/error.ts';
import type { Packer } from '../core/label-ring.ts';
import type { LegacyTables } from '../core/legacy.ts';
import type { DiskId } from '../core/types.ts';
import type { DataPath } from '../datapath/datapath.ts';
import type { Host } from '../host/host.ts';
import type { Hypervisor } from '../hypervisor/hypervisor.ts';
import type { Images } from '../image/image.ts';
import type { CopyProgress } from './shapes.ts';

/** For what works on the catalog directly. */
export type CatalogSystem = {
  readonly catalog: Catalog;
  readonly host: Host;
  readonly clock: Clock;
  readonly random: Random;
  /** Goes on labels, so that a second host is noticed. */
  readonly hostName: string;
  /** Reads a database of 2004 (`import-legacy`). */
  readonly readLegacy?: (file: string) => LegacyTables | Promise<LegacyTables>;
  /** Compresses the copies of the catalog on labels; without it labels carry no copy. */
  readonly packer?: Packer;
  /** The first 4096 bytes of a device, fast and unverified, so that every command can ask its label; null when they can't be read. */
  readonly readHead?: (path: string) => Uint8Array | null;
  /** Opens a file that `backup` made, for reading (`recover FILE`); the caller disposes of it. */
  readonly openCopy?: (file: string) => Promise<Catalog>;
};

/** An image copy that this daemon runs. */
export type RunningCopy = {
  readonly diskId: DiskId;
  readonly progress: CopyProgress;
  /** It ends with that error, between two writes. */
  readonly stop: (reason: XvdError) => void;
  /** Settled when it is fenced. */
  readonly ended: Promise<void>;
};

/** By the number of the worker. */
export type Copies = Map<number, RunningCopy>;

/** For what needs the data path or a hypervisor: inside the daemon only. */
export type System = CatalogSystem & {
  /** Preferred first: `auto` takes the first that is here. */
  readonly dataPaths: readonly DataPath[];
  readonly hypervisors: readonly Hypervisor[];
  /** Attach and detach of one target wait for each other. */
  readonly queue: KeyedQueue;
  /** Reads and writes disk images (`import`, `export`). */
  readonly images?: Images;
  readonly copies?: Copies;
};

export const isSystem = (system: CatalogSystem | System): system is System => 'dataPaths' in system;
