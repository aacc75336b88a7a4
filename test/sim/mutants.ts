// Products that are wrong on purpose: the simulation must find each of them out.

import type { Catalog } from '../../src/catalog/catalog.ts';
import type { Mutant } from './chaos-world.ts';

export const mutants: Readonly<Record<string, Mutant>> = {
  'extents are free before the fence': {
    catalog: (catalog) => ({
      ...passing(catalog),
      write: (body) =>
        catalog.write((writer) =>
          body({
            ...writer,
            nextReclaimable: async (pool, blockBytes, now) => {
              for (const disk of await writer.disks({ which: 'expired', now })) if (disk.pool === pool && (await writer.runs(disk.id)).length > 0) return disk;
              return writer.nextReclaimable(pool, blockBytes, now);
            },
          }),
        ),
    }),
  },
  'sharing is checked before the transaction': {
    catalog: (catalog) => ({
      ...passing(catalog),
      write: async (body) => {
        const rows = await catalog.read((reader) => reader.vbds());
        return catalog.write((writer) => body({ ...writer, vbds: async (filter) => rows.filter(({ domain }) => (filter?.domain ?? domain) === domain) }));
      },
    }),
  },
  'a data path is closed when it is told to, not when it is proved gone': {
    dataPath: (dataPath) => ({ ...dataPath, close: (generation) => dataPath.close(generation).catch(() => undefined) }),
  },
  'a fence leaves pages in caches': { host: (host) => ({ ...host, settle: async () => undefined }) },
  'a wiper that lives is taken for gone': { host: (host) => ({ ...host, aliveIsGone: async () => true }) },
  'a wipe does nothing': { host: (host) => ({ ...host, zero: async () => undefined }) },
  'two commands may decide on one device': { host: (host) => ({ ...host, claim: async () => ({ [Symbol.asyncDispose]: async () => undefined }) }) },
};
const passing = (catalog: Catalog): Catalog => ({
  read: (body) => catalog.read(body),
  write: (body) => catalog.write(body),
  changeMark: () => catalog.changeMark(),
  backup: (path) => catalog.backup(path),
  selfCheck: () => catalog.selfCheck(),
  [Symbol.asyncDispose]: async () => undefined,
});
