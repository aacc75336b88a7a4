// What a data path is told to serve for one VBD: devices, and segments in order.

import { XvdError } from '../base/error.ts';
import { bytes, roundDown } from '../base/units.ts';
import type { CatalogReader } from '../catalog/catalog.ts';
import { segmentsOf } from '../core/mapping.ts';
import { parseRate } from '../core/rate.ts';
import { parseDelay, parseFaults } from '../core/trouble.ts';
import type { Vbd, VbdPlan } from '../core/types.ts';
import type { ByteRange } from '../host/host.ts';
import { hostBlockBytes } from './device-safety.ts';
import { planDevice } from './settle-runs.ts';
import type { CatalogSystem } from './system.ts';

export const exportNameOf = (vbd: Pick<Vbd, 'domain' | 'target' | 'generation'>): string =>
  `${vbd.domain}/${vbd.target.replace(/^\/dev\//, '')}@${vbd.generation}`;

const FILTERS = ['limit', 'delay', 'faults'] as const;
type Filters = { readonly [Name in (typeof FILTERS)[number]]?: string | null | undefined };

/** Those that were asked for, as they were; a VBD that an older version has noted lacks some. */
export const filterTexts = (filters: Filters): { readonly [Name in (typeof FILTERS)[number]]?: string } =>
  Object.fromEntries(FILTERS.flatMap((name) => (typeof filters[name] === 'string' ? [[name, filters[name]]] : [])));

/** What a data path is told of them; VALUE_INVALID. */
export function filtersOf(filters: Filters): Pick<VbdPlan, 'rate' | 'delay' | 'faults'> {
  const { limit, delay, faults } = filterTexts(filters);
  return {
    ...(limit === undefined ? {} : { rate: parseRate(limit) }),
    ...(delay === undefined ? {} : { delay: parseDelay(delay) }),
    ...(faults === undefined ? {} : { faults: parseFaults(faults) }),
  };
}

export async function planOf(system: CatalogSystem, vbd: Vbd): Promise<VbdPlan> {
  const { generation, mode, sizeBytes, cache, source } = vbd;
  const head = { generation, exportName: exportNameOf(vbd), mode, sizeBytes, cache, ...filtersOf(vbd) };
  if (source.kind === 'vd') return { ...head, ...(await system.catalog.read((reader) => planOfDisk(reader, source.diskId))) };
  const { path, kind, identity, sizeBytes: deviceBytes, ...facts } = await system.host.inspect(source.path, { signatures: false });
  const device = { path, kind, identity, sizeBytes: deviceBytes };
  return {
    ...head,
    blockBytes: hostBlockBytes({ path, kind, identity, sizeBytes: deviceBytes, ...facts }),
    devices: [device],
    segments: [{ deviceIndex: 0, offsetBytes: bytes(0), lengthBytes: sizeBytes }],
  };
}

export const sizeOfPhysical = (sizeBytes: number): number => roundDown(sizeBytes, 512);

export async function planOfDisk(reader: CatalogReader, diskId: number): Promise<Pick<VbdPlan, 'blockBytes' | 'devices' | 'segments'>> {
  const disk = await reader.disk(diskId);
  if (disk === null) throw new XvdError('DISK_NOT_FOUND', `no disk vd:${diskId}`);
  const all = new Map((await reader.devices()).map((device) => [device.id, device]));
  const { devices, segments } = segmentsOf(disk.sizeBytes, await reader.runs(diskId), all);
  return { blockBytes: disk.blockBytes, devices: devices.map(planDevice), segments };
}

/** Ranges of a plan on each of its devices, for the fence. */
export function rangesByDevice(plan: VbdPlan): readonly (readonly ByteRange[])[] {
  return plan.devices.map((_, index) =>
    plan.segments.filter((segment) => segment.deviceIndex === index).map(({ offsetBytes, lengthBytes }) => ({ offsetBytes, lengthBytes })),
  );
}
