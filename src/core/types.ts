// The nouns of the system as readonly data. Everything else in core is functions over these.

import type { Bytes, Extents, Sectors, WallMs } from '../base/units.ts';

export type DiskId = number;
export type DeviceId = number;
/** Number of a VBD, never used again: in its socket's path, its NBD name and its rows. */
export type Generation = number;

/** What a device is known by, strongest first; checked at every use on the open descriptor. */
export type DeviceIdentity =
  | { readonly kind: 'label'; readonly deviceUuid: string }
  | { readonly kind: 'wwn' | 'serial'; readonly value: string; readonly startSector: Sectors }
  | { readonly kind: 'partition'; readonly partUuid: string; readonly startSector: Sectors }
  | { readonly kind: 'dm'; readonly uuid: string }
  | { readonly kind: 'file'; readonly filesystem: string; readonly inode: number }
  /** Has no identity of its own: known by path and size only (needs --force). */
  | { readonly kind: 'path'; readonly path: string };

/** A device of the pool as the catalog knows it. */
export type PoolDevice = {
  readonly id: DeviceId;
  readonly uuid: string;
  readonly pool: string;
  /** Where it was seen last; its identity decides, not this. */
  readonly path: string;
  readonly kind: 'block' | 'file';
  readonly identity: DeviceIdentity;
  /** The whole drive (or the file itself) that it lies on, and where on it it starts. */
  readonly drivePath: string;
  readonly driveStartSector: Sectors;
  readonly sizeBytes: Bytes;
  readonly blockBytes: 512 | 4096;
  readonly extentBytes: Bytes;
  /** Offset of extent 0 from the start of the device: behind the label, aligned to physical blocks. */
  readonly dataStartBytes: Bytes;
  readonly extentCount: Extents;
  readonly labelled: boolean;
  /** A regular file whose blocks are not all allocated. */
  readonly overcommitted: boolean;
};

/** Extents in a row on one device. */
export type Run = {
  readonly deviceId: DeviceId;
  readonly firstExtent: Extents;
  readonly count: Extents;
  /** Known to read as zeros. */
  readonly clean: boolean;
};

export type OnExpiry = 'revoke' | 'hold';
export type DiskState = 'preparing' | 'live' | 'expired' | 'reclaimed';

/** A virtual disk as recorded; its state follows from this and the time (`diskState`). */
export type Disk = {
  readonly id: DiskId;
  readonly name: string | null;
  readonly pool: string;
  readonly sizeBytes: Bytes;
  readonly blockBytes: 512 | 4096;
  readonly createdAt: WallMs;
  /** null = never. */
  readonly expiresAt: WallMs | null;
  readonly onExpiry: OnExpiry;
  readonly labels: Readonly<Record<string, string>>;
  /** Owned, not attachable: what must be wiped is being wiped. */
  readonly preparing: boolean;
  readonly suspect: boolean;
  /** Bytes of it that others own now (or that were wiped for others). */
  readonly lostBytes: Bytes;
};

export type VbdMode = 'r' | 'w';
export type VbdState = 'attaching' | 'attached' | 'detaching' | 'revoked' | 'detached';
export type Driver = 'dm' | 'nbd';
export type CacheMode = 'none' | 'writeback';
export type ExpertLevel = 0 | 1 | 2;

export type Source = { readonly kind: 'vd'; readonly diskId: DiskId } | { readonly kind: 'phy'; readonly path: string };

/** A disk or physical device attached to a domain under a target device. */
export type Vbd = {
  readonly generation: Generation;
  readonly domain: string;
  readonly hypervisor: 'host' | 'qemu' | 'xen' | 'none';
  /** Normalised: `/dev/xvda`. */
  readonly target: string;
  readonly vdev: number;
  readonly source: Source;
  readonly mode: VbdMode;
  readonly driver: Driver;
  readonly cache: CacheMode;
  readonly state: VbdState;
  readonly sizeBytes: Bytes;
  readonly sharing: ExpertLevel;
  readonly devicePath: string | null;
  readonly uri: string | null;
  readonly persist: boolean;
  readonly limit: string | null;
  /** As users write them. */
  readonly delay: string | null;
  readonly faults: string | null;
  readonly createdAt: WallMs;
  readonly bootId: string;
};

/** Sectors in a row in one space: a whole drive (`drive:8:0`) or a file by its identity (`file:DEV:INODE`). */
export type SectorRange = {
  readonly space: string;
  readonly startSector: Sectors;
  readonly sectors: Sectors;
  /** Where in the device that was asked about this range begins, when it is not its start (a device of several pieces). */
  readonly atSector?: Sectors;
  /** Path of the drive or file, for people. */
  readonly device?: string;
};

/** Which sectors something stands on. `own` is compared with everything; `below` (the device under a file's filesystem,
 *  the whole of a stack without fixed ranges) is compared with `own` of others only, or two files of one filesystem would clash. */
export type Footprint = {
  readonly own: readonly SectorRange[];
  readonly below: readonly SectorRange[];
  /** What it is reached through: the filesystem of a file (`fs:MAJ:MIN`), the stacked devices on the way (`drive:MAJ:MIN`). */
  readonly via?: readonly string[];
};

export type UserKind = 'vbd' | 'mount' | 'swap' | 'holder' | 'loop' | 'process' | 'copy' | 'pool';
/** Somebody who uses sectors. One that can't be resolved is a writer of all that it may stand on. */
export type SectorUser = {
  readonly kind: UserKind;
  readonly name: string;
  readonly mode: VbdMode;
  readonly footprint: Footprint;
  /** A mount or holder that makes something else reachable (`fs:MAJ:MIN`, `drive:MAJ:MIN`): no conflict for what goes through it. */
  readonly carries?: string;
  /** Of a VBD of ours: what a user would detach. */
  readonly detach?: { readonly target: string; readonly domain: string };
};

/** One piece of a VBD: `lengthBytes` from `offsetBytes` of the device at `deviceIndex` of the plan. Segments follow each other without gap. */
export type Segment = { readonly deviceIndex: number; readonly offsetBytes: Bytes; readonly lengthBytes: Bytes };

export type PlanDevice = { readonly path: string; readonly kind: 'block' | 'file'; readonly identity: DeviceIdentity; readonly sizeBytes: Bytes };

/** What a VBD may do in a second. */
export type Rate = { readonly bytesPerSecond?: number; readonly requestsPerSecond?: number };

export type RequestKind = 'read' | 'write' | 'flush';
/** Milliseconds that a request waits before it is done. */
export type Delay = Readonly<Partial<Record<RequestKind, number>>>;
/** Chances that it fails instead. */
export type Faults = Readonly<Partial<Record<RequestKind, number>>>;

/** All that a data path needs to serve one VBD, and nothing else. */
export type VbdPlan = {
  readonly generation: Generation;
  /** `web01/xvda@17` */
  readonly exportName: string;
  readonly mode: VbdMode;
  readonly sizeBytes: Bytes;
  readonly blockBytes: 512 | 4096;
  readonly cache: CacheMode;
  readonly devices: readonly PlanDevice[];
  readonly segments: readonly Segment[];
  readonly rate?: Rate;
  readonly delay?: Delay;
  readonly faults?: Faults;
  /** A pipe in XVD_RUN whose write end every process that serves this holds besides: of an image copy, whose proof it is. */
  readonly pipe?: string;
};

/** What a data path hands to a hypervisor. */
export type Endpoint =
  | { readonly kind: 'nbd'; readonly uri: string; readonly socketPath: string; readonly exportName: string }
  | { readonly kind: 'block'; readonly path: string };

/** Something that happened to disks, leases, VBDs or devices; `type` is `disk.created` and the like. */
export type XvdEvent = {
  readonly id: number;
  readonly time: WallMs;
  readonly type: string;
  /** `vd:1`, `/dev/sda3`, `web01/xvda@17` */
  readonly subject: string;
  /** The command, the lease, the crash that was mended … */
  readonly cause: string;
  readonly data: Readonly<Record<string, unknown>>;
};

/** A domain as its user describes it; validated by `domain-description.ts`. */
export type DomainDescription = {
  readonly name: string;
  readonly hypervisor?: 'qemu' | 'xen';
  /** Left out, the firmware boots from the first disk. */
  readonly kernel?: string;
  /** `bios`, `uefi`, or the file of another one. */
  readonly firmware?: string;
  readonly ramdisk?: string;
  /** With a unit: `512M`. */
  readonly memory: string;
  readonly vcpus?: number;
  readonly cmdline?: string;
  /** `/dev/xvda ro` */
  readonly root?: string;
  readonly expert?: ExpertLevel;
  readonly network?: { readonly ip?: string; readonly netmask?: string; readonly gateway?: string; readonly hostname?: string; readonly bridge?: string };
  /** A file that the guest's console is written to, or `unix:PATH` of a socket where it is; `xvd domain console` reaches it in any case. */
  readonly console?: string;
  /** When the guest reboots: `restart` (default), or `stop`, which ends the domain. */
  readonly onExit?: 'stop' | 'restart';
  readonly disks: readonly { readonly source: string; readonly target: string; readonly mode: VbdMode }[];
};

/** What xvd has promised for later: to attach or start something again after a reboot of the host; or to undo a start of a domain,
 *  if it was cut off. */
export type Intent = {
  /** An attach bears `DOMAIN VDEV`, the others the name of the domain. */
  readonly key: string;
  /** The boot in which it was dealt with: in another one it is due again. */
  readonly bootId: string;
  /** Why it could not be done, else null. */
  readonly problem: string | null;
} & (
  | {
      readonly kind: 'attach';
      readonly value: { readonly vbd: Vbd; /** Of a physical device: it may have another name by then. */ readonly identity: DeviceIdentity | null };
    }
  | { readonly kind: 'autostart'; readonly value: { readonly description: DomainDescription } }
  | { readonly kind: 'starting'; readonly value: { readonly hypervisor: 'qemu' | 'xen' } }
);
