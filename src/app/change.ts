// One transaction of a use case: the clock is read and judged inside it, stored with it, and events bear its time and cause.

import type { WallMs } from '../base/units.ts';
import type { CatalogReader, CatalogWriter } from '../catalog/catalog.ts';
import { judgeClock } from '../core/clock.ts';
import type { CatalogSystem } from './system.ts';

export type Now = {
  /** By this, states and new leases are judged. */
  readonly now: WallMs;
  /** What had expired by then may be reclaimed or revoked. */
  readonly trusted: WallMs;
  /** Why the clock is not believed, else null. */
  readonly suspect: string | null;
};

export type Change = Now & {
  readonly writer: CatalogWriter;
  event(type: string, subject: string, data?: Readonly<Record<string, unknown>>): Promise<void>;
};

export async function judgeNow(system: CatalogSystem, reader: CatalogReader): Promise<Now> {
  const judged = judgeClock(await reader.lastClock(), system.clock.read());
  return { now: judged.nowMs, trusted: judged.trustedMs, suspect: judged.reason };
}

/** All of the body's changes or none; `cause` is told in its events. */
export function change<T>(system: CatalogSystem, cause: string, body: (change: Change) => Promise<T>): Promise<T> {
  return system.catalog.write(async (writer) => {
    const last = await writer.lastClock();
    const reading = system.clock.read();
    const judged = judgeClock(last, reading);
    if (judged.suspect) {
      // The last believed pair of wall time and time since boot stays the measure; only trusted time moves on.
      if (last === null || judged.trustedMs > last.trustedMs) await writer.storeClock(last?.reading ?? reading, judged.trustedMs);
    } else {
      await writer.storeClock(reading, judged.trustedMs);
    }
    const now: Now = { now: judged.nowMs, trusted: judged.trustedMs, suspect: judged.reason };
    return body({
      ...now,
      writer,
      async event(type, subject, data = {}) {
        await writer.addEvent({ time: now.now, type, subject, cause, data });
      },
    });
  });
}

export function look<T>(system: CatalogSystem, body: (reader: CatalogReader, now: Now) => Promise<T>): Promise<T> {
  return system.catalog.read(async (reader) => body(reader, await judgeNow(system, reader)));
}
