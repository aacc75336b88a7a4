// Both catalogs under the one contract.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { catalogContract } from './contract.ts';
import { fixedClock, seededRandom } from './fixture.ts';
import { openMemoryCatalog } from './memory/open.ts';
import { openSqliteCatalog } from './sqlite/open.ts';

catalogContract('memory', async ({ eventsKept }) => ({ catalog: await openMemoryCatalog({ random: seededRandom(1), eventsKept }), clean: async () => {} }));

for (const create of [true, false]) {
  catalogContract(create ? 'sqlite' : 'sqlite, made by the first write', async ({ eventsKept }) => {
    const parent = await mkdtemp(join(tmpdir(), 'xvd-catalog-'));
    const catalog = await openSqliteCatalog({ folder: join(parent, 'state'), clock: fixedClock, random: seededRandom(1), create, eventsKept });
    return { catalog, clean: () => rm(parent, { recursive: true }) };
  });
}
