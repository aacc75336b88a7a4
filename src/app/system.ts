// What every use case is given: the ports and the sources of time and chance, picked by the composition root.

import type { Clock, Random } from '../base/clock.ts';
import type { KeyedQueue } from '../base/keyed-queue.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { DataPath } from '../datapath/datapath.ts';
import type { Host } from '../host/host.ts';
import type { Hypervisor } from '../hypervisor/hypervisor.ts';

/** For what works on the catalog directly. */
export type CatalogSystem = {
  readonly catalog: Catalog;
  readonly host: Host;
  readonly clock: Clock;
  readonly random: Random;
  /** Goes on labels, so that a second host is noticed. */
  readonly hostName: string;
};

/** For what needs the data path or a hypervisor: inside the daemon only. */
export type System = CatalogSystem & {
  /** Preferred first: `auto` takes the first that is here. */
  readonly dataPaths: readonly DataPath[];
  readonly hypervisors: readonly Hypervisor[];
  /** Attach and detach of one target wait for each other. */
  readonly queue: KeyedQueue;
};

export const isSystem = (system: CatalogSystem | System): system is System => 'dataPaths' in system;
