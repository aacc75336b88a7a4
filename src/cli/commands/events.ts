// Events of the catalog itself, so that they can be followed without a daemon too.

import { existsSync, watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { dirname } from 'node:path';
import type { EventInfo } from '../../app/shapes.ts';
import type { Command, Context } from '../command.ts';
import { wholeNumber } from '../options.ts';
import { eventLine } from '../views.ts';

const PAGE = 1000;

export const run: Command['run'] = async (context, { flag, value }) => {
  const after = value('after');
  const from = after === undefined ? 0 : wholeNumber(after, '--after');
  if (flag('follow')) return follow(context, from);
  const all = await pages(context, from);
  return { value: all, text: all.map(eventLine).join('') };
};

async function pages(context: Context, from: number): Promise<EventInfo[]> {
  const xvd = await context.xvd();
  const all: EventInfo[] = [];
  for (let afterId = from; ; afterId = all.at(-1)?.id ?? afterId) {
    const page = await xvd.events({ afterId, limit: PAGE });
    all.push(...page);
    if (page.length < PAGE) return all;
  }
}

/** Prints as the catalog's files change: SQLite's log beside it grows with every commit. */
async function follow(context: Context, from: number): Promise<{ value: null; text: string }> {
  let last = from;
  const print = async (): Promise<void> => {
    for (const event of await pages(context, last)) {
      last = event.id;
      context.print(context.json ? `${JSON.stringify(event)}\n` : eventLine(event));
    }
  };
  const changes = { wake: (): void => undefined };
  const { stateFolder } = context.settings;
  const watcher = watchFolder(stateFolder, () => changes.wake());
  context.signal.addEventListener('abort', () => changes.wake());
  try {
    while (!context.signal.aborted) {
      const changed = Promise.withResolvers<void>();
      changes.wake = changed.resolve;
      await print();
      if (!context.signal.aborted) await changed.promise;
    }
  } finally {
    watcher.close();
  }
  return { value: null, text: '' };
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
      if (there !== folder || name === null || name.startsWith('catalog.sqlite')) changed();
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
