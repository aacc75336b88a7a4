// Connection processes that are started before they are needed: a client does not wait for a Node to start. A spare has no VBD,
// no device and no pipe; it gets them, with the client's socket, in one message, and ends when whoever started it is gone.

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { toBackground, toForeground } from '../../host/background.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { SPARE_DEVICES } from './spare-descriptors.ts';
import { descriptorOf, startUntold } from './start-process.ts';
import type { StartedProcess } from './start-process.ts';

export type SpareOptions = {
  readonly nodePath: string;
  readonly connectionProgram: string;
  readonly parkAfterMs: number;
  /** How many are kept ready; 0 = none. */
  readonly wanted: number;
  readonly syscalls: Syscalls | null;
  readonly log: (event: string, details: Readonly<Record<string, unknown>>) => void;
};

export type Handover = { readonly folder: string; readonly socket: number; readonly log: number; readonly alive: number; readonly devices: readonly number[] };

export type Spares = {
  /** Makes sure that there are spares, until end(). */
  fill(): void;
  /** A process that was told to serve; null when there is no spare for it. `begin` is called before it can touch anything. */
  handOver(handover: Handover, begin: (child: ChildProcess) => void): Promise<ChildProcess> | null;
  end(): void;
};

/** Spares are replaced only when whoever has just connected has had the processors for a while. */
const REFILL_MS = 1000;

export function makeSpares({ nodePath, connectionProgram, parkAfterMs, wanted, syscalls, log }: SpareOptions): Spares {
  const ready = new Set<StartedProcess>();
  let refill: NodeJS.Timeout | null = null;
  let ended = false;
  // The start of a Node takes 60 ms of a processor, and guests' requests would wait for slices of it.
  let background = syscalls;
  const start = (): void => {
    const spare = startUntold(nodePath, [connectionProgram, '--spare', String(parkAfterMs)], null);
    ready.add(spare);
    spare.child.once('error', (error) => log('nbd.spare-failed', { reason: error.message }));
    spare.child.once('exit', () => ready.delete(spare));
    spare.control.unref();
    if (background !== null && spare.child.pid !== undefined) toBackground(background, spare.child.pid);
  };
  const wake = ({ child: { pid } }: StartedProcess): boolean => background === null || (pid !== undefined && toForeground(background, pid));
  const fill = (): void => {
    refill = null;
    if (syscalls !== null && !ended) for (let count = ready.size; count < wanted; count += 1) start();
  };
  return {
    fill() {
      ended = false;
      fill();
    },
    handOver(handover, begin) {
      const [spare] = ready;
      if (spare === undefined || syscalls === null || handover.devices.length > SPARE_DEVICES) return null;
      ready.delete(spare);
      if (!wake(spare)) {
        log('nbd.spare-failed', { reason: 'its scheduling can not be set back' });
        background = null;
        spare.child.kill('SIGKILL');
        return null;
      }
      refill ??= setTimeout(fill, REFILL_MS).unref();
      return give(spare, handover, begin, syscalls);
    },
    end() {
      ended = true;
      if (refill !== null) clearTimeout(refill);
      for (const { control } of ready) control.destroy();
      ready.clear();
    },
  };
}

/** Resolves when the process has put everything in its place, or has ended. */
async function give({ child, control }: StartedProcess, handover: Handover, begin: (child: ChildProcess) => void, syscalls: Syscalls): Promise<ChildProcess> {
  begin(child);
  control.ref();
  const answered = Promise.race([once(control, 'data'), once(control, 'close')]);
  const { folder, socket, log, alive, devices } = handover;
  const sent = syscalls.sendDescriptors(descriptorOf(control), Buffer.from(folder), [socket, log, alive, ...devices]);
  if (sent < 0) child.kill('SIGKILL');
  await answered;
  control.destroy();
  return child;
}
