// The port of the catalog: who owns which extents, under which lease, attached where. It stores and finds; core decides.
//
// Contract: a change is durable when write() returns. A write is one transaction: all of it or nothing (also when the
// function throws, or the process is killed). Readers see one committed state and never block writers. Only the
// transaction's own calls may be awaited inside; a transaction object is dead once its function has returned.
// By the end of a write every extent of a device is in exactly one place (a disk, the unowned, the bad), whatever the order of
// the calls inside: else the write is undone with an InvariantError. A name that another disk bears is NAME_TAKEN.
// Every implementation passes catalog/contract.test.ts.

import type { ClockMark } from '../base/clock.ts';
import type { Bytes, WallMs } from '../base/units.ts';
import type { DeviceId, Disk, DiskId, Generation, Intent, PoolDevice, Run, Vbd, VbdState, XvdEvent } from '../core/types.ts';

/** The run of unowned space, or a run at the tail of an expired disk. */
export type FreeRun = Run & { readonly extentBytes: Bytes; readonly bytes: Bytes };
/** `position`: its place among the runs of the disk. */
export type OwnedRun = Run & { readonly diskId: DiskId; readonly position: number };
/** used + free + reserved + bad = all extents. free = unowned + reclaimable (expired, out of reach); clean counts every run
 *  known to read as zeros, whoever owns it. */
export type DeviceUsage = {
  readonly usedBytes: Bytes;
  readonly freeBytes: Bytes;
  readonly reservedBytes: Bytes;
  readonly badBytes: Bytes;
  readonly cleanBytes: Bytes;
  readonly reclaimableBytes: Bytes;
};

/** A user of extents that lives outside the catalog and must be fenced: a wiper or an image copy. (VBDs have rows of their own.) */
export type ExtentWorker = {
  readonly id: number;
  readonly kind: 'wiper' | 'import' | 'export';
  readonly diskId: DiskId;
  readonly bootId: string;
  readonly pid: number;
  /** Start time of the process in clock ticks since boot (/proc/PID/stat field 22): pids are used again. */
  readonly startTicks: number;
  /** Name of the pipe in XVD_RUN whose write end it holds. */
  readonly pipe: string;
};

export type DiskFilter = {
  readonly which: 'living' | 'expired' | 'all';
  readonly now: WallMs;
  readonly label?: { readonly key: string; readonly value: string };
  readonly afterId?: DiskId;
  readonly limit?: number;
};

/** What a commit found of one disk before it changed it. */
export type DiskImage = {
  readonly diskId: DiskId;
  /** null = there was no such disk; left out = its row was not changed. */
  readonly disk?: Disk | null;
  /** Left out = its runs were not changed. */
  readonly runs?: readonly Run[];
};
/** The disks that one commit changed; its events are all below `nextEventId`. */
export type HistoryEntry = { readonly commitNumber: number; readonly nextEventId: number; readonly before: readonly DiskImage[] };

export interface CatalogReader {
  /** Identity of this catalog; on labels of its devices. */
  catalogId(): Promise<string>;
  /** Number of the last commit, counted up by every write(). */
  commitNumber(): Promise<number>;
  /** Highest ID ever given to a disk, generation to a VBD and number to an event; 0 = none. They never fall. */
  highest(): Promise<{ readonly disk: DiskId; readonly generation: Generation; readonly event: number }>;
  /** The clock as stored with the last commit, and the last time that was trusted; null before the first. */
  lastClock(): Promise<{ readonly reading: ClockMark; readonly trustedMs: WallMs } | null>;

  devices(): Promise<readonly PoolDevice[]>;
  device(id: DeviceId): Promise<PoolDevice | null>;
  /** Of every device; costs a pass over the runs. */
  usage(now: WallMs): Promise<ReadonlyMap<DeviceId, DeviceUsage>>;

  disk(id: DiskId): Promise<Disk | null>;
  /** The one disk, living or expired, that bears the name now. */
  diskByName(name: string): Promise<Disk | null>;
  /** Ascending by ID. */
  disks(filter: DiskFilter): Promise<readonly Disk[]>;
  /** The disks whose lease ends after that instant, soonest first (by an index: the lease keeper sleeps until the first). */
  nextExpiries(after: WallMs, limit: number): Promise<readonly Disk[]>;
  /** In the order of the disk. Of a reclaimed disk: what is left. */
  runs(diskId: DiskId): Promise<readonly Run[]>;
  /** Unowned runs of one device, ascending. */
  unownedRuns(deviceId: DeviceId): Promise<readonly Run[]>;
  /** Every owned run, ascending by device and extent, for check and map. */
  ownedRuns(): Promise<readonly OwnedRun[]>;
  /** The first `limit` owned runs of one device, ascending. */
  ownedRunsOn(deviceId: DeviceId, limit: number): Promise<readonly OwnedRun[]>;
  badRuns(): Promise<readonly Run[]>;

  /** Smallest unowned run of at least `atLeastBytes`, else null. Ties: lower device, lower extent. */
  smallestUnowned(pool: string, blockBytes: 512 | 4096, atLeastBytes: Bytes): Promise<FreeRun | null>;
  /** Longest unowned run, else null. Ties: lower device, lower extent. */
  longestUnowned(pool: string, blockBytes: 512 | 4096): Promise<FreeRun | null>;
  /** The disk of the pool that expired longest ago (ties: lower ID), still has runs, and that no VBD or worker can reach. */
  nextReclaimable(pool: string, blockBytes: 512 | 4096, expiredBy: WallMs): Promise<Disk | null>;
  /** Bytes that an allocation in the pool could take now. Counts no further than `enough`: what it gives may then be less than all
   *  there is, never less than `enough`; without it the cost is in the number of runs and disks that can be taken. */
  allocatableBytes(pool: string, blockBytes: 512 | 4096, expiredBy: WallMs, enough?: Bytes): Promise<Bytes>;

  /** Rows that can still reach extents: every state but detached. */
  vbds(filter?: { readonly domain?: string; readonly diskId?: DiskId }): Promise<readonly Vbd[]>;
  /** null also when it is detached: its row is gone by then, its number is never used again. */
  vbd(generation: Generation): Promise<Vbd | null>;
  workers(diskId?: DiskId): Promise<readonly ExtentWorker[]>;
  /** In the order in which they were first put. */
  intents(): Promise<readonly Intent[]>;

  /** Ascending; of the last limits.events. */
  events(afterId: number, limit: number): Promise<readonly XvdEvent[]>;
  /** The commits that changed disks at or after that event, newest first. Complete for every event that is still kept. */
  history(sinceEvent: number): Promise<readonly HistoryEntry[]>;
}

export interface CatalogWriter extends CatalogReader {
  storeClock(reading: ClockMark, trustedMs: WallMs): Promise<void>;

  /** Also makes its unowned space: one dirty run over all its extents. */
  addDevice(device: Omit<PoolDevice, 'id'>): Promise<PoolDevice>;
  /** Whatever but its number of extents and their size. */
  updateDevice(device: PoolDevice): Promise<void>;
  /** With its unowned and bad runs; the caller has moved all owned ones away. */
  removeDevice(id: DeviceId): Promise<void>;

  /** Gives the next ID: highest ever + 1. */
  addDisk(disk: Omit<Disk, 'id'>): Promise<Disk>;
  /** One that comes from elsewhere, with its ID, which no disk here bears. */
  addDiskWithId(disk: Disk): Promise<void>;
  updateDisk(disk: Disk): Promise<void>;
  /** Of a create that failed: its ID is not used again. It must own no runs. */
  removeDisk(id: DiskId): Promise<void>;
  /** Replaces the runs of a disk, in order. The runs must be unowned by others. */
  setRuns(diskId: DiskId, runs: readonly Run[]): Promise<void>;
  /** Takes [firstExtent, firstExtent + count) out of the unowned space; what is left of the run stays. Throws when not all of it is unowned. */
  takeUnowned(run: Run): Promise<void>;
  /** Gives space back to the unowned; neighbours of the same cleanness are joined. */
  giveUnowned(run: Run): Promise<void>;
  addBad(run: Run): Promise<void>;
  removeBad(run: Run): Promise<void>;

  /** Gives the next generation: highest ever + 1. */
  addVbd(vbd: Omit<Vbd, 'generation'>): Promise<Vbd>;
  updateVbd(vbd: Vbd): Promise<void>;
  /** Detached: may be said twice. */
  setVbdState(generation: Generation, state: VbdState): Promise<void>;
  addWorker(worker: Omit<ExtentWorker, 'id'>): Promise<ExtentWorker>;
  /** May be said twice. */
  removeWorker(id: number): Promise<void>;
  /** In the place of that of the same kind and key, or behind all others. */
  putIntent(intent: Intent): Promise<void>;
  removeIntent(kind: Intent['kind'], key: string): Promise<void>;

  addEvent(event: Omit<XvdEvent, 'id'>): Promise<XvdEvent>;

  /** Numbers up to these count as used. Never lowers one. `commit` is the number that this commit exceeds. */
  raiseNumbers(used: { readonly commit?: number; readonly disk?: DiskId; readonly generation?: Generation; readonly event?: number }): Promise<void>;
  /** Of a catalog that takes the place of a lost one. */
  setCatalogId(catalogId: string): Promise<void>;
}

export interface Catalog extends AsyncDisposable {
  /** One consistent state for the whole function. */
  read<T>(body: (reader: CatalogReader) => Promise<T>): Promise<T>;
  /** One transaction; waits for other writers up to limits.catalogLockMs, then CATALOG_LOCKED. */
  write<T>(body: (writer: CatalogWriter) => Promise<T>): Promise<T>;
  /** Changes whenever any process has committed (SQLite's data_version): to be polled cheaply. */
  changeMark(): Promise<number>;
  /** A consistent copy into a new file, while others write. */
  backup(path: string): Promise<void>;
  /** The store's own check of itself: one line a problem. */
  selfCheck(): Promise<readonly string[]>;
}
