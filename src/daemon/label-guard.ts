// A catalog around the catalog (I7): before its first write the labels of the devices are asked whether they know a newer one,
// and what was written reaches the labels within a bounded time, never in the way of the writer: a command leaves a process behind
// that writes them, a daemon has its own keeper, and a program that uses the library writes them itself.

import type { LabelVerdict } from '../app/read-labels.ts';
import type { CatalogSystem } from '../app/system.ts';
import { limits } from '../base/limits.ts';
import type { Catalog } from '../catalog/catalog.ts';

/** `later`: starts a process that writes the labels, unless it can't (false). null: they are written here, before the end. */
export function guardCatalog(system: CatalogSystem, later: ((ageMs: number) => Promise<boolean>) | null = null): Catalog {
  const { catalog, clock } = system;
  let judged: Promise<LabelVerdict> | null = null;
  let writes = 0;
  let lastMs: number | null = null;
  let writing: Promise<void> = Promise.resolve();
  const judge = (): Promise<LabelVerdict> => {
    // A refusal is not remembered: `recover` or `adopt` may mend it.
    judged ??= import('../app/read-labels.ts')
      .then(({ refuseStale }) => refuseStale(system))
      .catch((error: unknown) => {
        judged = null;
        throw error;
      });
    return judged;
  };
  const writeLabels = (): Promise<void> => {
    writes = 0;
    lastMs = clock.read().sinceBootMs;
    // What can't be written is told by `check` and tried again by whoever writes next.
    writing = writing
      .then(async () => (await import('../app/write-labels.ts')).writeLabels(system))
      .then(
        () => undefined,
        () => undefined,
      );
    return writing;
  };
  return {
    read: (body) => catalog.read(body),
    async write(body) {
      await judge();
      const result = await catalog.write(body);
      writes += 1;
      lastMs ??= clock.read().sinceBootMs;
      if (writes >= limits.labelLagCommits && clock.read().sinceBootMs - lastMs >= limits.labelLagMs) void writeLabels();
      return result;
    },
    changeMark: () => catalog.changeMark(),
    backup: (path) => catalog.backup(path),
    selfCheck: () => catalog.selfCheck(),
    async [Symbol.asyncDispose]() {
      const before = writes > 0 && judged !== null ? await judge().catch(() => null) : null;
      const due = before !== null && (before.lagCommits + writes >= limits.labelLagCommits || before.ageMs >= limits.labelAgeMs);
      // One that is not due yet is, for whoever waits outside: there may be no other command.
      const left = before !== null && before.labels > 0 && later !== null && (await later(before.ageMs));
      if (due && !left) void writeLabels();
      await writing;
      await catalog[Symbol.asyncDispose]();
    },
  };
}
