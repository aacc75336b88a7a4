// The port of a data path: makes the extents of one VBD readable as one contiguous device.
//
// Contract: open() is idempotent for one generation and returns when a client can connect; nothing is reachable before.
// close() returns only when every process or device that could write for the generation is proved gone (step 1 of the
// fence); FENCE_UNPROVED otherwise, and it may be called again. Both survive a restart of the daemon: list() tells what
// an earlier one left, and open() with the same plan takes it over.

import type { Driver, Endpoint, Generation, VbdPlan } from '../core/types.ts';

export type DataPathStats = {
  readonly connections: number;
  readonly reads: number;
  readonly writes: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  /** null where the kernel does not tell them from writes. */
  readonly flushes: number | null;
  /** null where nobody counts them. */
  readonly errors: number | null;
  /** By kind of request (`read`, `write`, `flush`, `other`): bucket n counts what took less than 2^n microseconds and no less than half of
   *  that, the last one all that took longer. Absent where nobody measures. */
  readonly latencies?: Readonly<Record<string, readonly number[]>>;
};

export interface DataPath extends AsyncDisposable {
  readonly driver: Driver;
  open(plan: VbdPlan): Promise<Endpoint>;
  close(generation: Generation): Promise<void>;
  /** Proof without ending anything: true = nothing of the generation can write any more, whichever process asks. */
  isGone(generation: Generation): Promise<boolean>;
  list(): Promise<readonly Generation[]>;
  stats(generation: Generation): Promise<DataPathStats | null>;
}
