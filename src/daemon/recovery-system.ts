// The system for `recover`: also when the present catalog can't be read. That one is then put aside, never deleted, and only
// with force, since what happened since is lost with it.

import { join } from 'node:path';
import { CATALOG_FILE } from '../base/catalog-file.ts';
import { XvdError } from '../base/error.ts';
import { setCatalogAside } from '../catalog/sqlite/open-copy.ts';
import { composeCatalogSystem } from './compose.ts';
import { lockDaemon } from './daemon-lock.ts';
import type { ComposedCatalog, Folders } from './compose.ts';

export type RecoverySystem = {
  readonly system: ComposedCatalog;
  /** Where the unreadable catalog lies now; null when it could be read. */ readonly aside: string | null;
};

/** CATALOG_DAMAGED without force. */
export async function composeForRecovery(folders: Folders, force: boolean): Promise<RecoverySystem> {
  try {
    const system = await composeCatalogSystem(folders);
    const damage = await damageOf(system);
    if (damage === null) return { system, aside: null };
    await system[Symbol.asyncDispose]();
    throw damage;
  } catch (error) {
    if (!(error instanceof XvdError) || error.code !== 'CATALOG_DAMAGED') throw error;
    if (!force)
      throw new XvdError('CATALOG_DAMAGED', error.message, {
        cause: error,
        fix: `Use --force: ${join(folders.stateFolder, CATALOG_FILE)} is put aside, and every disk comes back suspect.`,
      });
    // A daemon would go on writing into the files that were put aside. DAEMON_RUNNING.
    const { openSyscalls } = await import('../host/syscalls.ts');
    await using lock = await lockDaemon(folders.stateFolder, openSyscalls());
    void lock;
    const aside = setCatalogAside(folders.stateFolder);
    return { system: await composeCatalogSystem(folders), aside };
  }
}

async function damageOf(system: ComposedCatalog): Promise<XvdError | null> {
  try {
    const [line] = await system.unguarded.catalog.selfCheck();
    return line?.startsWith('sqlite:') === true ? new XvdError('CATALOG_DAMAGED', `the present catalog is damaged: ${line}`) : null;
  } catch (error) {
    if (error instanceof XvdError && error.code === 'CATALOG_DAMAGED') return error;
    throw error;
  }
}
