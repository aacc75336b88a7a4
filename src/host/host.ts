// The port of the host: block devices and files, who they are, who uses them, their bytes.
//
// Contract: facts are read anew at each call. Nothing here writes but zero() and writeBytes(); nothing asks questions.
// A path that does not exist is DEVICE_NOT_FOUND, one that can't be opened NOT_PERMITTED, a failing device DEVICE_FAILED.

import type { Bytes, Sectors } from '../base/units.ts';
import type { DeviceIdentity, Footprint, PlanDevice, SectorUser } from '../core/types.ts';

export type DeviceFacts = {
  /** Canonical: the kernel's node (`/dev/sda3`), or the real path of the file. */
  readonly path: string;
  readonly kind: 'block' | 'file';
  readonly sizeBytes: Bytes;
  readonly logicalBlockBytes: number;
  readonly physicalBlockBytes: number;
  readonly identity: DeviceIdentity;
  readonly drivePath: string;
  readonly driveStartSector: Sectors;
  readonly footprint: Footprint;
  readonly readOnly: boolean;
  /** Files only: not all blocks are allocated. */
  readonly sparse: boolean;
  /** Files only: the filesystem writes elsewhere than where it wrote before. */
  readonly copyOnWrite: boolean;
  /** The root filesystem, its swap or the catalog stands on it. */
  readonly holdsSystem: boolean;
  /** Filesystem, RAID, LVM or partition-table signatures found, in blkid's words; [] = none. */
  readonly signatures: readonly string[];
  /** Paths of other devices here that bear this identity too: clones, or paths of one device that nothing has joined. */
  readonly twins: readonly string[];
};

/** `signatures: false` leaves them out ([]): looking for them reads the device and takes longer than all else. So does looking
 *  for twins, which asks every device of the host; left out with the signatures, unless it is said otherwise. */
export type InspectOptions = { readonly signatures?: boolean; readonly twins?: boolean };

export type ByteRange = { readonly offsetBytes: Bytes; readonly lengthBytes: Bytes };

export type AliveMark = AsyncDisposable & { readonly pid: number; readonly startTicks: number };

export interface Host {
  /** `phy:` names and paths: `sda3` is `/dev/sda3`; an absolute path may name a regular file. Follows links. */
  inspect(path: string, options?: InspectOptions): Promise<DeviceFacts>;
  /** Everybody on this host who uses sectors: mounts of every namespace, swap, holders, loop devices, processes, as the kernel tells now.
   *  VBDs are not in it, nor are processes of ours (this one, and any that has a pipe of XVD_RUN open): the catalog tells of them. */
  users(): Promise<readonly SectorUser[]>;
  /** Throws DEVICE_IDENTITY_MISMATCH or DEVICE_NOT_FOUND unless what the path opens now is that device, of that size;
   *  with a descriptor, unless what is open on it is (the path may lead elsewhere by then). Two devices with one identity are
   *  DEVICE_IDENTITY_MISMATCH, naming both; one that is known by its label, or by path and size only, has no twins.
   *  An identity of kind `label` is read from the label at the head (core/label.ts, decodeLabel over the first 4096 bytes). */
  verify(device: PlanDevice, fd?: number): Promise<void>;
  /** Makes the ranges read as zeros for certain, durably, and tells progress. Never a bare discard. */
  zero(device: PlanDevice, ranges: readonly ByteRange[], progress?: (doneBytes: Bytes) => void, signal?: AbortSignal): Promise<void>;
  /** Reads around any cache. */
  readBytes(device: PlanDevice, range: ByteRange): Promise<Uint8Array>;
  /** Durable when it returns. */
  writeBytes(device: PlanDevice, offsetBytes: Bytes, data: Uint8Array): Promise<void>;
  /** Steps 2 and 3 of the fence: what was written in the ranges has reached the device, and no page cache of any node over
   *  them holds a page, proved by asking the kernel. FENCE_UNPROVED when it can't be, or the device hangs. Waits for no neighbour's pages. */
  settle(device: PlanDevice, ranges: readonly ByteRange[]): Promise<void>;
  /** These spaces are nobody else's to format, unformat or attach as `phy:` until disposed or the process ends, however it ends: whoever
   *  asks for one of them meanwhile, in this process too, is DEVICE_BUSY after a short wait. Nothing else is kept from them. */
  claim(spaces: readonly string[]): Promise<AsyncDisposable>;
  /** Makes this process provable: opens the write end of the pipe of that name in XVD_RUN (made when missing) until disposed or the
   *  process ends, however it ends. */
  holdAlive(pipe: string): Promise<AliveMark>;
  /** End of file on that pipe: every process that held it is proved gone. false while one holds it, or when the pipe is missing. */
  aliveIsGone(pipe: string): Promise<boolean>;
  /** Removes the pipe of a process that was proved gone. */
  forgetAlive(pipe: string): Promise<void>;
  /** Names of the pipes in XVD_RUN (not in folders below) that begin so. */
  alivePipes(prefix: string): Promise<readonly string[]>;
  /** Paths of every whole drive and partition here, where labels of a lost catalog are looked for. */
  blockDevices?(): Promise<readonly string[]>;
  /** The running boot. */
  bootId(): Promise<string>;
}
