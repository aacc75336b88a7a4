// All that the commands do, as functions: on the catalog directly, and through the daemon for what needs the data path or a
// hypervisor. Each use case is loaded when it is first called.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from '../api/client.ts';
import type { CheckOptions } from '../app/check-pool.ts';
import type { Work } from '../app/prepare-disk.ts';
import type {
  AttachInfo,
  AttachOptions,
  Changed,
  CreateOptions,
  DeleteOptions,
  AutostartInfo,
  DetachOptions,
  DeviceInfo,
  DiskInfo,
  DomainInfo,
  EventInfo,
  ExtentInfo,
  FormatOptions,
  LeaseOptions,
  ListOptions,
  ProblemInfo,
  VbdInfo,
  Warnings,
} from '../app/shapes.ts';
import type { CatalogSystem } from '../app/system.ts';
import { CATALOG_FILE } from '../base/catalog-file.ts';
import { XvdError } from '../base/error.ts';
import type { DomainInput } from '../core/domain-description.ts';
import type { ExpertLevel } from '../core/types.ts';
import { composeCatalogSystem } from '../daemon/compose.ts';
import type { ComposedCatalog } from '../daemon/compose.ts';
import { resolveSettings } from '../daemon/settings.ts';
import type { Settings, SettingsInput } from '../daemon/settings.ts';
import { copyingOf } from './copy.ts';
import type { Copying } from './copy.ts';
import type { FollowOptions } from './follow-events.ts';
import { mendingOf } from './mend.ts';
import type { Mending } from './mend.ts';

type Said<T> = Promise<T & Changed & Warnings>;

/** One method for each command. Sizes in bytes, times in milliseconds, instants as ISO 8601 texts; errors are XvdError with a `code`. */
export interface Xvd extends Mending, Copying, AsyncDisposable {
  /** Adds a device to the pool. DEVICE_NOT_FOUND, DEVICE_IN_USE, DEVICE_CARRIES_DATA, DEVICE_TOO_SMALL … */
  formatDevice(options: FormatOptions): Said<DeviceInfo>;
  /** Takes an unused device out of the pool. DEVICE_BUSY. */
  unformatDevice(options: { readonly device: string }): Said<{ device: string }>;
  listDevices(): Promise<DeviceInfo[]>;
  /** Makes a disk, wiped, living when this returns. POOL_FULL, NAME_TAKEN. */
  createDisk(options: CreateOptions, work?: Work): Said<DiskInfo>;
  /** Sets when the lease ends; never, when nothing is said. DISK_EXPIRED. */
  refreshDisk(options: LeaseOptions): Said<DiskInfo>;
  /** Ends the lease now. DISK_BUSY when attached and not forced. */
  deleteDisk(options: DeleteOptions): Said<DiskInfo>;
  /** Brings back an expired disk that is still whole. DISK_RECLAIMED. */
  restoreDisk(options: LeaseOptions): Said<DiskInfo>;
  listDisks(options?: ListOptions): Promise<DiskInfo[]>;
  /** `5`, `vd:5` or a name. DISK_NOT_FOUND. */
  showDisk(disk: string): Promise<DiskInfo>;
  /** Sectors on whole drives, in the order of the disk; the uname may be `vd:` or `phy:`. */
  extentsOf(uname: string): Promise<ExtentInfo[]>;
  vbds(options?: { readonly domain?: string }): Promise<VbdInfo[]>;
  events(options?: { readonly afterId?: number; readonly limit?: number }): Promise<EventInfo[]>;
  /** Those that are kept, then each as it comes: `for await (const event of xvd.followEvents())`. */
  followEvents(options?: FollowOptions): AsyncIterable<EventInfo>;
  /** Every problem found; with `repair`, what needs no guess is mended. */
  checkPool(options?: CheckOptions): Promise<{ problems: ProblemInfo[] }>;
  /** The domain starts with the first daemon of each boot of the host. */
  autostartDomain(description: DomainInput): Promise<AutostartInfo & Changed>;
  stopAutostart(name: string): Promise<AutostartInfo & Changed>;
  /** A consistent copy of the catalog, while others write. */
  backupCatalog(options: { readonly file: string }): Promise<{ file: string; changed: true }>;
  /** Needs the daemon. SHARING_REFUSED, TARGET_TAKEN, DOMAIN_NOT_FOUND, DAEMON_NOT_RUNNING. */
  attach(options: AttachOptions): Said<AttachInfo>;
  /** Needs the daemon. The level that an attach would have and whom it would meet; refused as the attach would be. */
  checkSharing(options: AttachOptions): Said<AttachInfo>;
  /** Needs the daemon; returns when no write of the VBD can arrive any more. VBD_BUSY, FENCE_UNPROVED. */
  detach(options: DetachOptions): Said<VbdInfo>;
  /** Needs the daemon. All or nothing. */
  startDomain(description: DomainInput, options?: { readonly expert?: ExpertLevel }): Promise<DomainInfo & Warnings>;
  stopDomain(options: { readonly name: string; readonly force?: boolean }): Promise<DomainInfo & Changed>;
  listDomains(): Promise<DomainInfo[]>;
  consoleOf(options: { readonly name: string }): Promise<{ path: string }>;
}

/** Opens xvd as the commands see it: options, then the environment, then the configuration file. Close it with `await using`. */
export async function openXvd(options: SettingsInput = {}): Promise<Xvd> {
  return xvdOf(await resolveSettings(options, process.env));
}

/** `labelsLater`: of a process that ends soon; labels that are due are then written by one that it leaves behind. */
export async function xvdOf(settings: Settings, { labelsLater = false }: { readonly labelsLater?: boolean } = {}): Promise<Xvd> {
  const system = await composeCatalogSystem({ ...settings, labelsLater });
  return {
    ...onCatalog(system, settings),
    ...mendingOf(system),
    ...copyingOf(settings),
    ...overDaemon(settings),
    [Symbol.asyncDispose]: () => system[Symbol.asyncDispose](),
  };
}

type OnCatalog = Pick<
  Xvd,
  | 'formatDevice'
  | 'unformatDevice'
  | 'listDevices'
  | 'createDisk'
  | 'refreshDisk'
  | 'deleteDisk'
  | 'restoreDisk'
  | 'listDisks'
  | 'showDisk'
  | 'extentsOf'
  | 'vbds'
  | 'events'
  | 'followEvents'
  | 'checkPool'
  | 'backupCatalog'
  | 'autostartDomain'
  | 'stopAutostart'
>;

function onCatalog(system: ComposedCatalog, settings: Settings): OnCatalog {
  // What can only fail without a catalog must not make one.
  const isMade = (): boolean => existsSync(join(settings.stateFolder, CATALOG_FILE));
  const mustKnow = async (disk: string): Promise<void> => {
    if (!isMade()) await (await import('../app/show-disk.ts')).showDisk(system, disk);
  };
  return {
    formatDevice: async (options) => (await import('../app/format-device.ts')).formatDevice(system, options),
    unformatDevice: async (options) => (await import('../app/format-device.ts')).unformatDevice(system, options),
    listDevices: async () => (await import('../app/list-devices.ts')).listDevices(system),
    createDisk: async (options, work) => {
      if (!isMade()) throw new XvdError('POOL_FULL', 'the pool has no device', { fix: 'Format a device first: `xvd format DEVICE`.' });
      return (await import('../app/create-disk.ts')).createDisk(system, options, work);
    },
    refreshDisk: async (options) => {
      await mustKnow(options.disk);
      return (await import('../app/refresh-disk.ts')).refreshDisk(system, options);
    },
    deleteDisk: async (options) => {
      await mustKnow(options.disk);
      // Only the daemon can revoke what is attached.
      if (options.force !== true || (await attachedOf(system, options.disk)) === 0) return (await import('../app/delete-disk.ts')).deleteDisk(system, options);
      return (await daemon(settings)).call('DELETE', `/api/v1/disks/${encodeURIComponent(options.disk)}?force=true`);
    },
    restoreDisk: async (options) => {
      await mustKnow(options.disk);
      return (await import('../app/restore-disk.ts')).restoreDisk(system, options);
    },
    listDisks: async (options) => (await import('../app/list-disks.ts')).listDisks(system, options),
    showDisk: async (disk) => (await import('../app/show-disk.ts')).showDisk(system, disk),
    extentsOf: async (uname) => (await import('../app/extents-of.ts')).extentsOf(system, uname),
    vbds: async (options) => (await import('../app/vbds.ts')).vbds(system, options),
    events: async (options) => (await import('../app/events.ts')).events(system, options),
    async *followEvents(options = {}) {
      const [follow, { events }] = await Promise.all([import('./follow-events.ts'), import('../app/events.ts')]);
      yield* follow.followEvents((page) => events(system, page), settings.stateFolder, options);
    },
    checkPool: async (options) => {
      const { problems } = await (await import('../app/check-pool.ts')).checkPool(system.unguarded, options);
      return { problems: [...problems, ...(await checkWithDaemon(settings, options?.repair === true))] };
    },
    autostartDomain: async (description) => (await import('../app/autostart-domain.ts')).autostartDomain(system, description),
    stopAutostart: async (name) => (await import('../app/autostart-domain.ts')).stopAutostart(system, name),
    backupCatalog: async (options) => (await import('../app/backup-catalog.ts')).backupCatalog(system, options),
  };
}

async function attachedOf(system: CatalogSystem, disk: string): Promise<number> {
  const { showDisk } = await import('../app/show-disk.ts');
  return (await showDisk(system, disk)).vbds.length;
}

/** What hypervisors and data paths have can be asked through the daemon only; without one that is left out. */
async function checkWithDaemon(settings: Settings, repair: boolean): Promise<ProblemInfo[]> {
  if (!existsSync(join(settings.runFolder, 'api.sock'))) return [];
  try {
    return (await (await daemon(settings)).call<{ problems: ProblemInfo[] }>('POST', '/api/v1/check/attachments', { repair })).problems;
  } catch (error) {
    if (error instanceof XvdError && (error.code === 'DAEMON_NOT_RUNNING' || error.code === 'NOT_PERMITTED')) return [];
    throw error;
  }
}

/** Loaded when it is first needed: HTTP costs a command more than the catalog does. */
async function daemon(settings: Settings): Promise<Client> {
  const { openClient } = await import('../api/client.ts');
  return openClient(settings);
}

function overDaemon(settings: Settings): Pick<Xvd, 'attach' | 'checkSharing' | 'detach' | 'startDomain' | 'stopDomain' | 'listDomains' | 'consoleOf'> {
  const call: Client['call'] = async (method, path, body) => (await daemon(settings)).call(method, path, body);
  const at = (...parts: readonly string[]): string => `/api/v1/${parts.map(encodeURIComponent).join('/')}`;
  const forced = (force: boolean | undefined): string => (force === true ? '?force=true' : '');
  return {
    attach: (options) => call('POST', at('vbds'), { expert: settings.expert, ...options }),
    checkSharing: (options) => call('POST', at('vbds'), { expert: settings.expert, ...options, dryRun: true }),
    detach: ({ domain, target, force, generation }) => {
      const asked = [...(force === true ? ['force=true'] : []), ...(generation === undefined ? [] : [`generation=${generation}`])].join('&');
      return call('DELETE', `${at('vbds', domain, target.replace(/^\/dev\//, ''))}${asked === '' ? '' : `?${asked}`}`);
    },
    startDomain: (description, options) => call('POST', at('domains'), { description, expert: options?.expert ?? description.expert ?? settings.expert }),
    stopDomain: ({ name, force }) => call('DELETE', `${at('domains', name)}${forced(force)}`),
    listDomains: () => call('GET', at('domains')),
    consoleOf: ({ name }) => call('GET', at('domains', name, 'console')),
  };
}
