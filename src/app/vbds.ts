import { look } from './change.ts';
import { vbdInfo } from './info.ts';
import type { VbdInfo } from './shapes.ts';
import type { CatalogSystem } from './system.ts';

/** What is attached, of all domains or of one, ascending by generation. */
export function vbds(system: CatalogSystem, options: { readonly domain?: string } = {}): Promise<VbdInfo[]> {
  return look(system, async (reader) => (await reader.vbds(options.domain === undefined ? {} : { domain: options.domain })).map(vbdInfo));
}
