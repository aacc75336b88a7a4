// Connection processes that are started before they are needed: a client does not wait for a Node to start. A spare has no VBD,
// no device and no pipe; it gets them, with the client's socket, in one message, and ends when whoever started it is gone.

import type { ChildProcess } from 'node:child_process';
import { limits } from '../../base/limits.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { makeRehearsalFolder } from './rehearsal-folder.ts';
import { REHEARSAL, SPARE_PLACES } from './spare-descriptors.ts';
import { descriptorOf, startUntold } from './start-process.ts';
import type { StartedProcess } from './start-process.ts';

export type SpareOptions = {
  readonly nodePath: string;
  readonly connectionProgram: string;
  readonly runFolder: string;
  readonly parkAfterMs: number;
  /** How many are kept ready; 0 = none. */
  readonly wanted: number;
  readonly syscalls: Syscalls | null;
  /** What all clients together have asked for until now. */
  readonly requests: () => number;
  readonly log: (event: string, details: Readonly<Record<string, unknown>>) => void;
};

export type Handover = { readonly folder: string; readonly socket: number; readonly log: number; readonly alive: number; readonly devices: readonly number[] };

type Spare = StartedProcess & {
  /** It has started, and waits to be told. */ waits: boolean;
};

export type Spares = {
  /** Makes sure that there are spares, until end(). */
  fill(): void;
  /** A process that was told to serve; null when no spare waits: whoever still starts might take long, and a process that is started for the client has its disk at once.
   *  `begin` is called before it can touch anything. */
  handOver(handover: Handover, begin: (child: ChildProcess) => void): Promise<ChildProcess> | null;
  end(): void;
};

/** Every so often it is asked whether spares may be started. */
const LOOK_MS = 1000;
/** In the time between two looks; a guest that only writes its logs asks for less. */
const QUIET_REQUESTS = 50;
/** So many looks, and they are started whatever the clients do. */
const LOOKS = 60;

/** The start of a Node is 60 ms of a processor: of two thousand flushes around it twenty took milliseconds longer, also when it ran at idle priority. It is to be started when nobody asks for much. */
export function waitForQuiet(requests: () => number): () => boolean {
  // The first look only takes the count: whoever waits for a spare now must not wait for that, too.
  let before = -Infinity;
  let looks = 0;
  return () => {
    const now = requests();
    // Less than before: a VBD has gone, and its count with it.
    const quiet = now >= before && now - before <= QUIET_REQUESTS;
    before = now;
    looks += 1;
    return quiet || looks >= LOOKS;
  };
}

export function makeSpares({ nodePath, connectionProgram, runFolder, parkAfterMs, wanted, syscalls, requests, log }: SpareOptions): Spares {
  const spares = new Set<Spare>();
  let refill: NodeJS.Timeout | null = null;
  let ended = false;
  /** Where it could be made, since it was first needed. */
  let rehearsal: Readonly<Record<string, string>> | null = null;
  const start = (told: Readonly<Record<string, string>>): void => {
    const { child, control } = startUntold(nodePath, [connectionProgram, '--spare', String(parkAfterMs)], null, told);
    const spare: Spare = { child, control, waits: false };
    spares.add(spare);
    control.once('data', () => (spare.waits = true));
    child.once('error', (error) => {
      spares.delete(spare);
      log('nbd.spare-failed', { reason: error.message });
    });
    child.once('exit', () => spares.delete(spare));
    control.unref();
  };
  const fill = (): void => {
    if (refill !== null) clearTimeout(refill);
    refill = null;
    if (syscalls === null || ended || spares.size >= wanted) return;
    rehearsal ??= rehearsalIn(runFolder, log);
    for (let count = spares.size; count < wanted; count += 1) start(rehearsal);
  };
  const fillLater = (mayStart: () => boolean): void => {
    refill = setTimeout(() => (mayStart() ? fill() : fillLater(mayStart)), LOOK_MS).unref();
  };
  return {
    fill() {
      ended = false;
      fill();
    },
    handOver(handover, begin) {
      const spare = [...spares].find(({ waits }) => waits);
      if (spare === undefined || syscalls === null || handover.devices.length > SPARE_PLACES) return null;
      spares.delete(spare);
      if (refill === null) fillLater(waitForQuiet(requests));
      return give(spare, handover, begin, { syscalls, log });
    },
    end() {
      ended = true;
      if (refill !== null) clearTimeout(refill);
      refill = null;
      for (const { control } of spares) control.destroy();
      spares.clear();
    },
  };
}

/** Without one a spare is only slower. */
function rehearsalIn(runFolder: string, log: SpareOptions['log']): Readonly<Record<string, string>> {
  try {
    return { [REHEARSAL]: makeRehearsalFolder(runFolder) };
  } catch (error) {
    log('nbd.no-rehearsal', { reason: (error as Error).message });
    return {};
  }
}

/** Resolves when the process has put everything in its place, or has ended. */
async function give(
  { child, control }: Spare,
  { folder, socket, log, alive, devices }: Handover,
  begin: (child: ChildProcess) => void,
  { syscalls, log: tell }: { readonly syscalls: Syscalls; readonly log: SpareOptions['log'] },
): Promise<ChildProcess> {
  begin(child);
  control.ref();
  const answered = new Promise((resolve) => {
    control.once('data', resolve);
    control.once('close', resolve);
  });
  // Nothing is waited for until it is sent: the VBD's descriptors are its own only as long as it is open.
  const sent = syscalls.sendDescriptors(descriptorOf(control), Buffer.from(folder), [socket, log, alive, ...devices]);
  if (sent < 0) {
    // It has ended, or will: its control socket may have closed before anybody listened.
    child.kill('SIGKILL');
    control.destroy();
    return child;
  }
  // One that does not come is no reason to keep the next client waiting.
  const late = setTimeout(() => {
    tell('nbd.handover-late', { pid: child.pid ?? null, afterMs: limits.nbdHandoverMs });
    child.kill('SIGKILL');
  }, limits.nbdHandoverMs);
  await answered;
  clearTimeout(late);
  control.destroy();
  return child;
}
