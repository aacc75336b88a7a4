// Keeps the reserve of wiped space: step by step, and whenever the catalog has changed. The budget of wiping is the host's.

import { setTimeout as delay } from 'node:timers/promises';
import { keepClean } from '../app/keep-clean.ts';
import type { CatalogSystem } from '../app/system.ts';
import type { CatalogWatch } from './catalog-watch.ts';
import type { Log } from './compose.ts';

/** A device that fails is not tried again at once. */
const AFTER_FAILURE_MS = 60_000;

export async function keepCleanUntil(system: CatalogSystem, reserveBytes: number, watch: CatalogWatch, until: AbortSignal, log: Log): Promise<void> {
  while (!until.aborted) {
    const changed = watch.changed(until);
    try {
      if (!(await keepClean(system, reserveBytes, until))) await changed;
    } catch (error) {
      if (until.aborted) return;
      log('clean-keeper.failed', { reason: error instanceof Error ? error.message : String(error) });
      await delay(AFTER_FAILURE_MS, undefined, { signal: until }).catch(() => undefined);
    }
  }
}
