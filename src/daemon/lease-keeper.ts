// Runs the rounds of the lease keeper: at the next end of a lease, and whenever the catalog has changed.

import { keepLeases, leaseMemory } from '../app/keep-leases.ts';
import type { System } from '../app/system.ts';
import type { CatalogWatch } from './catalog-watch.ts';
import type { Log } from './compose.ts';

/** Longer sleeps are cut: timers hold 24 days, and a clock that was set is noticed at the next round. */
const LONGEST_SLEEP_MS = 60_000;

export async function keepLeasesUntil(system: System, watch: CatalogWatch, until: AbortSignal, log: Log): Promise<void> {
  const memory = leaseMemory();
  while (!until.aborted) {
    const sleep = new AbortController();
    const changed = watch.changed(AbortSignal.any([until, sleep.signal]));
    const nextWakeMs = await round(system, memory, log);
    const timer = setTimeout(() => sleep.abort(), Math.min(nextWakeMs ?? LONGEST_SLEEP_MS, LONGEST_SLEEP_MS));
    await changed;
    clearTimeout(timer);
    sleep.abort();
  }
}

async function round(system: System, memory: ReturnType<typeof leaseMemory>, log: Log): Promise<number | null> {
  try {
    return (await keepLeases(system, memory)).nextWakeMs;
  } catch (error) {
    // A full or locked catalog: VBDs go on, and the next round tries again.
    log('lease-keeper.failed', { reason: (error as Error).message });
    return 1_000;
  }
}
