// The process that a command leaves behind when labels are due: waits until they are limits.labelAgeMs old, writes them once, ends.
// It makes nothing but labels: where the catalog has gone meanwhile there is nothing to do.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { judgeLabels } from '../app/read-labels.ts';
import { writeLabels } from '../app/write-labels.ts';
import { CATALOG_FILE } from '../base/catalog-file.ts';
import { limits } from '../base/limits.ts';
import { composeCatalogSystem } from './compose.ts';
import { unmark } from './labels-later.ts';
import type { LabelWork } from './labels-later.ts';

async function main(work: LabelWork): Promise<void> {
  await delay(Math.max(0, limits.labelAgeMs - (await labelsAgeMs(work))));
  unmark(work);
  if (!existsSync(join(work.stateFolder, CATALOG_FILE))) return;
  await using system = await composeCatalogSystem(work);
  await writeLabels(system.unguarded);
}

/** What the wait is for must not be held through it: the catalog is closed again. */
async function labelsAgeMs(work: LabelWork): Promise<number> {
  await using system = await composeCatalogSystem(work);
  return (await judgeLabels(system.unguarded)).ageMs;
}

const work = JSON.parse(process.argv[2] ?? '') as LabelWork;
main(work).catch(() => {
  // Nobody listens here: what is wrong is told by the next command, and by `check`.
  unmark(work);
  process.exitCode = 1;
});
