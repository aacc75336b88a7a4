// A filter: requests of a VBD that are late, or fail, as its user asked for. A request that fails has done nothing: no byte was
// written and no flush begun, so the VBD is not poisoned by it.

import type { Delay, Faults, RequestKind } from '../../core/types.ts';
import { systemError } from './memory-address.ts';
import type { VbdIo } from './vbd-io.ts';

const EIO = 5;

export type Trouble = {
  readonly delay: Delay;
  readonly faults: Faults;
  readonly sleepMs: (ms: number) => void;
  /** In [0, 1). */
  readonly chance: () => number;
};

export function makeTrouble(io: VbdIo, { delay, faults, sleepMs, chance }: Trouble): VbdIo {
  const before = (kind: RequestKind): void => {
    const ms = delay[kind];
    if (ms !== undefined) sleepMs(ms);
    if (chance() < (faults[kind] ?? 0)) throw systemError(EIO);
  };
  return {
    ...io,
    read(offset, buffer, at, length) {
      before('read');
      io.read(offset, buffer, at, length);
    },
    write(offset, buffer, at, length) {
      before('write');
      io.write(offset, buffer, at, length);
    },
    // Zeroes change what is stored, as writes do.
    zero(offset, length, how) {
      before('write');
      return io.zero(offset, length, how);
    },
    flush() {
      before('flush');
      io.flush();
    },
  };
}
