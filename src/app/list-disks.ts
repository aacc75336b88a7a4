import { limits } from '../base/limits.ts';
import { parseLabel } from '../core/name.ts';
import type { Vbd } from '../core/types.ts';
import { look } from './change.ts';
import { diskInfo } from './info.ts';
import type { DiskInfo, ListOptions } from './shapes.ts';
import type { CatalogSystem } from './system.ts';

/** Living and preparing disks; expired and reclaimed ones; or all. Ascending by ID, a page at a time when a limit is given. */
export function listDisks(system: CatalogSystem, options: ListOptions = {}): Promise<DiskInfo[]> {
  return look(system, async (reader, now) => {
    const disks = await reader.disks({
      which: options.which ?? 'living',
      now: now.now,
      ...(options.label === undefined ? {} : { label: parseLabel(options.label) }),
      ...(options.afterId === undefined ? {} : { afterId: options.afterId }),
      ...(options.limit === undefined ? {} : { limit: Math.min(options.limit, limits.listPage) }),
    });
    const attached = new Map<number, Vbd[]>();
    for (const vbd of await reader.vbds()) {
      if (vbd.source.kind === 'vd') attached.set(vbd.source.diskId, [...(attached.get(vbd.source.diskId) ?? []), vbd]);
    }
    return disks.map((disk) => diskInfo(disk, attached.get(disk.id) ?? [], now));
  });
}
