// Brings the labels up to the catalog after every change by whatever process, at most every limits.labelLagMs.

import type { CatalogSystem } from '../app/system.ts';
import { writeLabels } from '../app/write-labels.ts';
import { limits } from '../base/limits.ts';
import type { CatalogWatch } from './catalog-watch.ts';
import type { Log } from './compose.ts';

export async function keepLabelsUntil(system: CatalogSystem, watch: CatalogWatch, until: AbortSignal, log: Log): Promise<void> {
  while (!until.aborted) {
    const changed = watch.changed(until);
    await writeAll(system, log);
    await changed;
    await pause(limits.labelLagMs, until);
  }
  await writeAll(system, log);
}

async function writeAll(system: CatalogSystem, log: Log): Promise<void> {
  try {
    for (const warning of (await writeLabels(system)).warnings) log('labels.not-written', { reason: warning });
  } catch (error) {
    // A locked or damaged catalog: VBDs go on, and the next round tries again.
    log('labels.not-written', { reason: error instanceof Error ? error.message : String(error) });
  }
}

async function pause(ms: number, until: AbortSignal): Promise<void> {
  if (until.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  until.addEventListener('abort', () => resolve(), { once: true });
  await promise;
  clearTimeout(timer);
}
