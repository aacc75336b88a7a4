// What mends a catalog or takes one over: beside the guard of the labels, which refuses writing while they contradict it.

import type { AdoptOptions, AdoptResult } from '../app/adopt-device.ts';
import type { ImportLegacyOptions, ImportLegacyResult } from '../app/import-legacy.ts';
import type { DeviceMapInfo } from '../app/pool-map.ts';
import type { RecoverOptions, RecoverResult } from '../app/recover-catalog.ts';
import type { ComposedCatalog, Folders } from '../daemon/compose.ts';
import { resolveSettings } from '../daemon/settings.ts';
import type { SettingsInput } from '../daemon/settings.ts';

export type Mending = {
  /** Binds a pool device to the one that replaced it; `dryRun` shows both. LABEL_FOREIGN, DEVICE_TOO_SMALL, DEVICE_BUSY. */
  adoptDevice(options: AdoptOptions): Promise<AdoptResult>;
  /** Back to a backup, before an event, or by what the labels know, for all disks or one. CATALOG_IN_USE, EVENT_NOT_FOUND. */
  recoverCatalog(options: RecoverOptions): Promise<RecoverResult>;
  /** Takes a database of 2004 over into an unused catalog. LEGACY_DAMAGED lists every wrong row. */
  importLegacy(options: ImportLegacyOptions): Promise<ImportLegacyResult>;
  /** Who has what of each device, run by run. */
  poolMap(options?: { readonly device?: string }): Promise<{ readonly devices: readonly DeviceMapInfo[] }>;
};

export const mendingOf = ({ unguarded }: Pick<ComposedCatalog, 'unguarded'>): Mending => ({
  adoptDevice: async (options) => (await import('../app/adopt-device.ts')).adoptDevice(unguarded, options),
  recoverCatalog: async (options) => (await import('../app/recover-catalog.ts')).recoverCatalog(unguarded, options),
  importLegacy: async (options) => (await import('../app/import-legacy.ts')).importLegacy(unguarded, options),
  poolMap: async (options) => (await import('../app/pool-map.ts')).poolMap(unguarded, options),
});

/** Also when the present catalog can't be read, so that it can't be opened: see `Xvd.recoverCatalog`, and use `force`. CATALOG_DAMAGED without. */
export async function recoverCatalog(options: RecoverOptions, settings: SettingsInput = {}): Promise<RecoverResult> {
  return recoverFolder(await resolveSettings(settings, process.env), options);
}

/** Also when the present catalog can't be read: with `force` it is put aside, and told where. CATALOG_DAMAGED without. */
export async function recoverFolder(folders: Folders, options: RecoverOptions): Promise<RecoverResult> {
  const { composeForRecovery } = await import('../daemon/recovery-system.ts');
  const { recoverCatalog: recover } = await import('../app/recover-catalog.ts');
  const { system, aside } = await composeForRecovery(folders, options.force === true);
  try {
    const result = await recover(system.unguarded, aside === null ? options : { ...options, presentLost: true });
    return aside === null ? result : { ...result, warnings: [`the catalog that could not be read is now ${aside}`, ...result.warnings] };
  } finally {
    await system[Symbol.asyncDispose]();
  }
}
