// What a write finds of the disks that it changes, before it changes them, packed for one row: that of its last event, which
// waits for it, or one of its own when there is none.

import type { Disk, DiskId, Run, XvdEvent } from '../../core/types.ts';
import type { Connection } from './connection.ts';
import { eventColumns } from './rows.ts';

/** 0 = was not changed. Values stand in the order of `diskPart`. */
export type DiskPart = readonly unknown[];
type RunPart = readonly [deviceId: number, firstExtent: number, count: number, clean: 0 | 1];
export type Packed = readonly [diskId: DiskId, disk: DiskPart | null | 0, runs: readonly RunPart[] | 0];

export class Images {
  #event: XvdEvent | null = null;
  readonly #kept = new Map<DiskId, { disk: DiskPart | null | 0; runs: readonly RunPart[] | 0 }>();

  keepDisk(id: DiskId, before: () => Disk | null): void {
    const kept = this.#of(id);
    if (kept.disk !== 0) return;
    const disk = before();
    kept.disk = disk === null ? null : diskPart(disk);
  }

  keepRuns(id: DiskId, before: readonly Run[]): void {
    const kept = this.#of(id);
    if (kept.runs === 0 && kept.disk !== null) kept.runs = before.map((run) => [run.deviceId, run.firstExtent, run.count, run.clean ? 1 : 0]);
  }

  addEvent(sql: Connection, event: XvdEvent): void {
    this.writeEvent(sql);
    this.#event = event;
  }

  /** Whoever reads events finds all of them. */
  writeEvent(sql: Connection): void {
    if (this.#event !== null) sql.insert('event', { ...eventColumns(this.#event), commit_number: null, before: null });
    this.#event = null;
  }

  /** At the end of a write. */
  store(sql: Connection, commitNumber: number, nextEvent: number): void {
    const before = this.#kept.size === 0 ? null : JSON.stringify(this.#packed());
    const event = this.#event;
    if (event === null || event.id + 1 !== nextEvent || before === null) {
      this.writeEvent(sql);
      if (before !== null) sql.run('INSERT INTO history (commit_number, next_event, before) VALUES (?, ?, ?)', commitNumber, nextEvent, before);
    } else {
      sql.insert('event', { ...eventColumns(event), commit_number: commitNumber, before });
    }
  }

  #packed(): readonly Packed[] {
    return [...this.#kept].map(([id, { disk, runs }]): Packed => [id, disk, runs]).toSorted((a, b) => a[0] - b[0]);
  }

  #of(id: DiskId): { disk: DiskPart | null | 0; runs: readonly RunPart[] | 0 } {
    const known = this.#kept.get(id);
    if (known !== undefined) return known;
    const made = { disk: 0, runs: 0 } as const;
    const kept: { disk: DiskPart | null | 0; runs: readonly RunPart[] | 0 } = { ...made };
    this.#kept.set(id, kept);
    return kept;
  }
}

const diskPart = (disk: Disk): DiskPart => [
  disk.name,
  disk.pool,
  disk.sizeBytes,
  disk.blockBytes,
  disk.createdAt,
  disk.expiresAt,
  disk.onExpiry,
  disk.labels,
  disk.preparing ? 1 : 0,
  disk.suspect ? 1 : 0,
  disk.lostBytes,
];
