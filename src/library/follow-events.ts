// Events as they come: the catalog's files are watched, so that it works without a daemon, and before there is a catalog.

import { existsSync, watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { dirname } from 'node:path';
import type { EventInfo } from '../app/shapes.ts';
import { CATALOG_FILE } from '../base/catalog-file.ts';

export type FollowOptions = {
  /** Only those after this one; 0 or left out = from the oldest that is kept. */
  readonly afterId?: number;
  /** Ends it, without an error. */
  readonly signal?: AbortSignal;
};
type Pages = (options: { readonly afterId: number; readonly limit: number }) => Promise<EventInfo[]>;

const PAGE = 1000;
const NEVER = new AbortController().signal;

/** Those that are kept, ascending, then each as it comes, until the signal ends or the caller leaves the loop. */
export async function* followEvents(pages: Pages, stateFolder: string, { afterId = 0, signal = NEVER }: FollowOptions): AsyncGenerator<EventInfo> {
  let last = afterId;
  let changed = Promise.withResolvers<void>();
  const wake = (): void => changed.resolve();
  // SQLite's log beside the catalog grows with every commit.
  const watcher = watchFolder(stateFolder, wake);
  signal.addEventListener('abort', wake);
  try {
    while (!signal.aborted) {
      // Asked for before looking, so that nothing is missed in between.
      changed = Promise.withResolvers<void>();
      const page = await pages({ afterId: last, limit: PAGE });
      for (const event of page) {
        last = event.id;
        yield event;
      }
      if (page.length < PAGE && !signal.aborted) await changed.promise;
    }
  } finally {
    signal.removeEventListener('abort', wake);
    watcher.close();
  }
}

/** The folder itself, or until it is there the nearest one above it. */
function watchFolder(folder: string, changed: () => void): { close(): void } {
  let watcher: FSWatcher | null = null;
  let closed = false;
  const begin = (): void => {
    watcher?.close();
    if (closed) return;
    const there = nearestFolder(folder);
    watcher = watch(there, (_, name) => {
      if (there !== folder) begin();
      if (there !== folder || name === null || name.startsWith(CATALOG_FILE)) changed();
    });
    // Made between the look and the watch.
    if (there !== folder && nearestFolder(folder) !== there) begin();
  };
  begin();
  return {
    close() {
      closed = true;
      watcher?.close();
    },
  };
}

function nearestFolder(folder: string): string {
  return existsSync(folder) || folder === dirname(folder) ? folder : nearestFolder(dirname(folder));
}
