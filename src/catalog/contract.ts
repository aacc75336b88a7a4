// The contract of the port, as tests: every implementation passes them all.

import { test } from 'node:test';

import type { Catalog } from './catalog.ts';
import { disks, events, pages, reach } from './contract-disks.ts';
import { history } from './contract-history.ts';
import { devices, space } from './contract-space.ts';
import { transactions } from './contract-transactions.ts';
import { proved } from './fixture.ts';
import type { Check } from './fixture.ts';

/** An empty catalog that keeps `eventsKept` events; the test disposes of it, `clean` of what lies under it. */
export type MakeCatalog = (options: { readonly eventsKept: number }) => Promise<{ readonly catalog: Catalog; readonly clean: () => Promise<void> }>;

export function catalogContract(name: string, make: MakeCatalog): void {
  const check: Check = (says, body) => {
    test(`${name}: ${says}`, async () => {
      const made = await make({ eventsKept: 20 });
      try {
        await body(made.catalog);
        await proved(made.catalog);
      } finally {
        await made.catalog[Symbol.asyncDispose]();
        await made.clean();
      }
    });
  };
  for (const part of [transactions, devices, space, disks, pages, reach, events, history]) part(check);
}
