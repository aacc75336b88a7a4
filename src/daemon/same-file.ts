// A catalog around the catalog, for the daemon: a file that was removed or replaced under it is still open, and what would be
// written into it nobody would ever read. Reading goes on, so that what is attached can be ended.

import { statSync } from 'node:fs';
import { XvdError } from '../base/error.ts';
import type { Catalog } from '../catalog/catalog.ts';

/** CATALOG_DAMAGED from `write`. The file may not be there before the first write. */
export function onSameFile(catalog: Catalog, path: string): Catalog {
  let known: string | null = null;
  const found = (): string | null => {
    const facts = statSync(path, { throwIfNoEntry: false });
    return facts === undefined ? null : `${facts.dev}:${facts.ino}`;
  };
  return {
    read: (body) => catalog.read(body),
    changeMark: () => catalog.changeMark(),
    backup: (to) => catalog.backup(to),
    selfCheck: () => catalog.selfCheck(),
    [Symbol.asyncDispose]: () => catalog[Symbol.asyncDispose](),
    async write(body) {
      if (known !== null && found() !== known) {
        throw new XvdError('CATALOG_DAMAGED', `the catalog ${path} was removed or replaced while the daemon had it open`, {
          fix: 'Stop the daemon; then bring the file back, or `xvd recover --from-devices`, and start it again.',
        });
      }
      const result = await catalog.write(body);
      known ??= found();
      return result;
    },
  };
}
