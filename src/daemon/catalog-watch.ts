// Tells when any process has changed the catalog: SQLite's log beside it is watched, and its change mark asked.

import { watch } from 'node:fs';
import type { Catalog } from '../catalog/catalog.ts';

export type CatalogWatch = {
  /** Resolves soon after the next change, or when the signal ends. */
  changed(signal: AbortSignal): Promise<void>;
};

/** An operation changes the catalog more than once, and each change of SQLite's log is told in several parts: one look does for all of that, and
 *  mostly when the operation waits for something. */
const LOOK_AFTER_MS = 50;

export function watchCatalog(catalog: Catalog, folder: string, until: AbortSignal): CatalogWatch {
  const waiting = new Set<() => void>();
  let mark: number | null = null;
  let looking = false;
  let again = false;
  const wake = (): void => {
    for (const resume of waiting) resume();
  };
  const look = async (): Promise<void> => {
    // What changes while it looks may be missed by that look.
    again = looking;
    if (looking) return;
    looking = true;
    try {
      const now = await catalog.changeMark();
      if (now !== mark) wake();
      mark = now;
    } catch {
      // A catalog that can't be read now is told by whoever uses it next.
      wake();
    } finally {
      looking = false;
    }
    if (again) await look();
  };
  let soon: NodeJS.Timeout | null = null;
  const lookSoon = (): void => {
    soon ??= setTimeout(() => {
      soon = null;
      void look();
    }, LOOK_AFTER_MS);
  };
  const watcher = watch(folder, lookSoon);
  until.addEventListener('abort', () => {
    watcher.close();
    clearTimeout(soon ?? undefined);
    wake();
  });
  return {
    changed(signal) {
      const next = Promise.withResolvers<void>();
      waiting.add(next.resolve);
      const left = (): void => next.resolve();
      signal.addEventListener('abort', left, { once: true });
      if (signal.aborted || until.aborted) next.resolve();
      return next.promise.finally(() => {
        waiting.delete(next.resolve);
        signal.removeEventListener('abort', left);
      });
    },
  };
}
