// A copy of the catalog as it lies on labels: devices, disks with their runs, the numbers that must never fall. Or, where all
// of it does not fit, what one device has of it. What is read back comes from a disk: it is checked, never believed.

import { bytes, extents, sectors, wallMs } from '../base/units.ts';
import type { WallMs } from '../base/units.ts';
import type { DeviceId, DeviceIdentity, Disk, PoolDevice, Run } from './types.ts';

/** Of a part: the runs that lie on its device, with their places in the disk. */
export type CopyRun = Run & { readonly position: number };
export type CopyDisk = { readonly disk: Disk; readonly runs: readonly CopyRun[] };
export type CatalogCopy = {
  readonly catalogId: string;
  readonly commitNumber: number;
  readonly highest: { readonly disk: number; readonly generation: number; readonly event: number };
  /** The one device whose runs are in it; null = all of them. */
  readonly part: DeviceId | null;
  readonly devices: readonly PoolDevice[];
  readonly disks: readonly CopyDisk[];
  readonly bad: readonly Run[];
};

const VERSION = 1;

export function partOf(copy: CatalogCopy, deviceId: DeviceId): CatalogCopy {
  const disks = copy.disks.flatMap(({ disk, runs }) => {
    const here = runs.filter((run) => run.deviceId === deviceId);
    return here.length === 0 ? [] : [{ disk, runs: here }];
  });
  return { ...copy, part: deviceId, disks, bad: copy.bad.filter((run) => run.deviceId === deviceId) };
}

/** Of parts of one catalog: the newest row of each disk, the newest run at each place of it. */
export function joinParts(parts: readonly CatalogCopy[]): CatalogCopy | null {
  const oldestFirst = parts.toSorted((a, b) => a.commitNumber - b.commitNumber);
  const newest = oldestFirst.at(-1);
  if (newest === undefined) return null;
  const disks = new Map<number, { disk: Disk; runs: Map<number, CopyRun> }>();
  for (const part of oldestFirst) {
    for (const { disk, runs } of part.disks) {
      const known = disks.get(disk.id) ?? { disk, runs: new Map<number, CopyRun>() };
      for (const run of runs) known.runs.set(run.position, run);
      disks.set(disk.id, { disk, runs: known.runs });
    }
  }
  const highest = (of: 'disk' | 'generation' | 'event'): number => parts.reduce((most, part) => Math.max(most, part.highest[of]), 0);
  return {
    ...newest,
    part: null,
    highest: { disk: highest('disk'), generation: highest('generation'), event: highest('event') },
    disks: [...disks.values()]
      .toSorted((a, b) => a.disk.id - b.disk.id)
      .map(({ disk, runs }) => ({ disk, runs: [...runs.values()].toSorted((a, b) => a.position - b.position) })),
    bad: parts.flatMap((part) => part.bad),
  };
}

export function encodeCopy(copy: CatalogCopy): Uint8Array {
  const packedRun = (run: Run): number[] => [run.deviceId, run.firstExtent, run.count, run.clean ? 1 : 0];
  const disks = copy.disks.map(({ disk, runs }) => ({ disk, runs: runs.map((run) => [...packedRun(run), run.position]) }));
  return new TextEncoder().encode(JSON.stringify({ ...copy, version: VERSION, disks, bad: copy.bad.map(packedRun) }));
}

/** null = not readable. */
export function decodeCopy(data: Uint8Array): CatalogCopy | null {
  try {
    const row = object(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data)));
    if (row['version'] !== VERSION) return null;
    const highest = object(row['highest']);
    return {
      catalogId: text(row['catalogId']),
      commitNumber: number(row['commitNumber']),
      highest: { disk: number(highest['disk']), generation: number(highest['generation']), event: number(highest['event']) },
      part: row['part'] === null ? null : number(row['part']),
      devices: list(row['devices']).map(deviceOf),
      disks: list(row['disks']).map((each) => ({
        disk: diskOf(object(each)['disk']),
        runs: list(object(each)['runs']).map((run) => ({ ...runOf(run), position: number(list(run)[4]) })),
      })),
      bad: list(row['bad']).map(runOf),
    };
  } catch {
    return null;
  }
}

class Unreadable extends Error {}

function object(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Unreadable();
  return value as Record<string, unknown>;
}

function list(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new Unreadable();
  return value;
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw new Unreadable();
  return value;
}

function number(value: unknown): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new Unreadable();
  return value as number;
}

/** Before 1970 when a clock was wrong. */
function instant(value: unknown): WallMs {
  if (!Number.isSafeInteger(value)) throw new Unreadable();
  return wallMs(value as number);
}

function flag(value: unknown): boolean {
  if (typeof value !== 'boolean') throw new Unreadable();
  return value;
}

function one<T>(value: unknown, ...of: readonly T[]): T {
  const found = of.find((each) => each === value);
  if (found === undefined) throw new Unreadable();
  return found;
}

const identityKinds = ['label', 'wwn', 'serial', 'partition', 'dm', 'file', 'path'] as const;

function deviceOf(value: unknown): PoolDevice {
  const row = object(value);
  const identity = object(row['identity']);
  one(identity['kind'], ...identityKinds);
  return {
    id: number(row['id']),
    uuid: text(row['uuid']),
    pool: text(row['pool']),
    path: text(row['path']),
    kind: one(row['kind'], 'block', 'file'),
    identity: identity as DeviceIdentity,
    drivePath: text(row['drivePath']),
    driveStartSector: sectors(number(row['driveStartSector'])),
    sizeBytes: bytes(number(row['sizeBytes'])),
    blockBytes: one(row['blockBytes'], 512, 4096),
    extentBytes: bytes(number(row['extentBytes'])),
    dataStartBytes: bytes(number(row['dataStartBytes'])),
    extentCount: extents(number(row['extentCount'])),
    labelled: flag(row['labelled']),
    overcommitted: flag(row['overcommitted']),
  };
}

function diskOf(value: unknown): Disk {
  const row = object(value);
  const labels = object(row['labels']);
  for (const label of Object.values(labels)) text(label);
  return {
    id: number(row['id']),
    name: row['name'] === null ? null : text(row['name']),
    pool: text(row['pool']),
    sizeBytes: bytes(number(row['sizeBytes'])),
    blockBytes: one(row['blockBytes'], 512, 4096),
    createdAt: instant(row['createdAt']),
    expiresAt: row['expiresAt'] === null ? null : instant(row['expiresAt']),
    onExpiry: one(row['onExpiry'], 'revoke', 'hold'),
    labels: labels as Record<string, string>,
    preparing: flag(row['preparing']),
    suspect: flag(row['suspect']),
    lostBytes: bytes(number(row['lostBytes'])),
  };
}

function runOf(value: unknown): Run {
  const [deviceId, first, count, clean] = list(value).map(number);
  return { deviceId: number(deviceId), firstExtent: extents(number(first)), count: extents(number(count)), clean: clean === 1 };
}
