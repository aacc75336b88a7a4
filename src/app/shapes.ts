// The shapes of `--json`, the HTTP API and the library: what the use cases return. One value serves all faces.
// Byte counts and sectors are numbers, times ISO 8601 in UTC, absent values null (shared contract, section JSON).

import type { CacheMode, Driver, ExpertLevel, OnExpiry, DiskState, UserKind, VbdMode, VbdState, DeviceIdentity } from '../core/types.ts';

export type DeviceInfo = {
  readonly device: string;
  readonly pool: string;
  readonly extentBytes: number;
  readonly totalBytes: number;
  readonly usedBytes: number;
  readonly freeBytes: number;
  readonly reservedBytes: number;
  readonly badBytes: number;
  readonly cleanBytes: number;
  readonly reclaimableBytes: number;
  readonly identity: DeviceIdentity;
  readonly overcommitted: boolean;
};

export type VbdInfo = {
  readonly domain: string;
  readonly target: string;
  readonly vdev: number;
  readonly source: string;
  readonly mode: VbdMode;
  readonly generation: number;
  readonly driver: Driver;
  readonly state: VbdState;
  readonly sizeBytes: number;
  readonly devicePath: string | null;
  readonly uri: string | null;
  readonly sharing: ExpertLevel;
  /** It comes back after a reboot of the host. */
  readonly persist: boolean;
};

export type DiskInfo = {
  readonly id: number;
  readonly uname: string;
  readonly name: string | null;
  readonly pool: string;
  readonly sizeBytes: number;
  readonly state: DiskState;
  readonly createdAt: string;
  readonly expiresAt: string | null;
  readonly recoverable: boolean;
  readonly lostBytes: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly suspect: boolean;
  readonly blockBytes: 512 | 4096;
  readonly onExpiry: OnExpiry;
  readonly vbds: readonly VbdInfo[];
};

export type ExtentInfo = { readonly device: string; readonly startSector: number; readonly sectors: number };
export type ConflictInfo = {
  readonly user: UserKind;
  readonly name: string;
  readonly mode: VbdMode;
  readonly device: string;
  readonly startSector: number;
  readonly sectors: number;
};
/** Whom an attach shares sectors with, where that matters: `sharing` is the level of the worst. */
export type AttachInfo = VbdInfo & { readonly conflicts: readonly ConflictInfo[] };
export type DomainInfo = {
  readonly name: string;
  readonly id: string;
  readonly hypervisor: 'host' | 'qemu' | 'xen';
  readonly state: string;
  readonly vbds: readonly VbdInfo[];
};
export type EventInfo = {
  readonly id: number;
  readonly time: string;
  readonly type: string;
  readonly subject: string;
  readonly cause: string;
  readonly data: Readonly<Record<string, unknown>>;
};
export type ProblemInfo = { readonly code: string; readonly message: string; readonly repaired: boolean };

/** An operation says whether it changed anything, and warns in words. */
export type Changed = { readonly changed: boolean };
export type Warnings = { readonly warnings: readonly string[] };

/** When a lease ends: at an instant, after a time from now, or (null) never. Left out = never. */
export type Expiry = { readonly expiresAtMs?: number | null; readonly expiresInMs?: number | null };

export type FormatOptions = {
  readonly device: string;
  readonly extentBytes?: number;
  readonly pool?: string;
  readonly wipe?: boolean;
  readonly label?: boolean;
  readonly force?: boolean;
};
export type CreateOptions = Expiry & {
  readonly sizeBytes: number;
  readonly name?: string;
  readonly pool?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly onExpiry?: OnExpiry;
  readonly wipe?: boolean;
  readonly dryRun?: boolean;
};
export type LeaseOptions = Expiry & { readonly disk: string };
export type DeleteOptions = { readonly disk: string; readonly force?: boolean };
export type ListOptions = { readonly which?: 'living' | 'expired' | 'all'; readonly label?: string; readonly limit?: number; readonly afterId?: number };
export type AttachOptions = {
  readonly source: string;
  readonly target: string;
  readonly domain: string;
  readonly mode?: VbdMode;
  readonly expert?: ExpertLevel;
  readonly driver?: 'auto' | Driver;
  readonly cache?: CacheMode;
  readonly limit?: string;
  /** To see how a guest takes it: requests that are late (`5ms`, `read=5ms,flush=1s`), or fail (`1%`, `write=1%`). */
  readonly delay?: string;
  readonly faults?: string;
  readonly persist?: boolean;
  readonly dryRun?: boolean;
};
export type DetachOptions = {
  readonly target: string;
  readonly domain: string;
  readonly force?: boolean;
  /** Only that VBD: a newer one under the target stays. */
  readonly generation?: number;
};
/** `format` as qemu-img calls it; by the name and content of the image when left out. */
export type ImportOptions = {
  readonly image: string;
  readonly disk: string;
  readonly format?: string;
  readonly expert?: ExpertLevel;
  /** Also reads the backing and data files that the image names. */
  readonly trustImage?: boolean;
};
export type ExportOptions = {
  readonly disk: string;
  readonly image: string;
  readonly format?: string;
  readonly expert?: ExpertLevel;
  /** Replaces a file that has that name. */
  readonly force?: boolean;
};
export type CopyInfo = {
  readonly disk: string;
  readonly image: string;
  readonly format: string;
  /** Of the disk inside the image. */
  readonly sizeBytes: number;
  /** Where an interrupted copy was gone on with; 0 = copied from the start. */
  readonly resumedAtBytes: number;
};
export type CopyProgress = {
  readonly kind: 'import' | 'export';
  readonly disk: string;
  readonly image: string;
  doneBytes: number;
  readonly totalBytes: number;
};
/** Whether a domain starts after a reboot of the host. */
export type AutostartInfo = { readonly name: string; readonly autostart: boolean };
