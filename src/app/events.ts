import { limits } from '../base/limits.ts';
import { look } from './change.ts';
import { eventInfo } from './info.ts';
import type { EventInfo } from './shapes.ts';
import type { CatalogSystem } from './system.ts';

/** What happened, ascending by id, a page after `afterId` (0 = from the oldest that is kept). */
export function events(system: CatalogSystem, options: { readonly afterId?: number; readonly limit?: number } = {}): Promise<EventInfo[]> {
  return look(system, async (reader) => (await reader.events(options.afterId ?? 0, options.limit ?? limits.eventPage)).map(eventInfo));
}
