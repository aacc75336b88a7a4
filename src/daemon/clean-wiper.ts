// The process that keeps the reserve of wiped space: step by step, and whenever the catalog has changed; at the lowest priority of
// the processor and of I/O. It is told what to do by its one argument, and ends when its input ends.

import { readdirSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { keepClean } from '../app/keep-clean.ts';
import { idleIoForGood } from '../host/linux/io-priority.ts';
import { watchCatalog } from './catalog-watch.ts';
import { composeCatalogSystem } from './compose.ts';
import { openLog } from './log.ts';

export type CleanWork = {
  readonly stateFolder: string;
  readonly runFolder: string;
  readonly wipeBytesPerSecond: number | null;
  readonly reserveBytes: number;
};

/** A device that fails is not tried again at once. */
const AFTER_FAILURE_MS = 60_000;

function beLast(): void {
  // Priorities are those of threads: each of them, and later ones take theirs from the one that starts them.
  for (const thread of readdirSync('/proc/self/task')) setPriority(Number(thread), constants.priority.PRIORITY_LOW);
  idleIoForGood();
}

const log = openLog();

async function main(text: string): Promise<void> {
  const { reserveBytes, ...folders } = JSON.parse(text) as CleanWork;
  beLast();
  const ended = new AbortController();
  const end = (): void => ended.abort(new Error('the daemon ends'));
  process.stdin.on('end', end).on('error', end).resume();
  process.once('SIGINT', end).once('SIGTERM', end);
  const until = ended.signal;
  await using system = await composeCatalogSystem({ ...folders, idleWipes: true });
  const watch = watchCatalog(system.catalog, folders.stateFolder, until);
  while (!until.aborted) {
    const changed = watch.changed(until);
    try {
      if (!(await keepClean(system, reserveBytes, until))) await changed;
    } catch (error) {
      if (until.aborted) break;
      log('clean-keeper.failed', { reason: reasonOf(error) });
      await delay(AFTER_FAILURE_MS, undefined, { signal: until }).catch(() => undefined);
    }
  }
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

main(process.argv[2] ?? '')
  .catch((error: unknown) => {
    log('clean-keeper.failed', { reason: reasonOf(error) });
    process.exitCode = 1;
  })
  .finally(() => process.stdin.destroy());
