// Events as Server-Sent Events: from Last-Event-ID on (0 = from the oldest that is kept), then as they come.

import type { Context } from 'hono';
import { streamSSE } from 'hono/streaming';
import { XvdError } from '../base/error.ts';
import { events } from '../app/events.ts';
import type { System } from '../app/system.ts';

export type Changes = {
  /** Resolves soon after any process has changed the catalog. */
  readonly changed: (signal: AbortSignal) => Promise<void>;
  /** Ends with the daemon; from then on `changed` no longer waits. */
  readonly ended: AbortSignal;
};

export function eventStream(context: Context, system: System, { changed, ended }: Changes): Response {
  const asked = context.req.header('last-event-id') ?? context.req.query('after') ?? '0';
  if (!/^\d{1,15}$/.test(asked)) throw new XvdError('USAGE', `Last-Event-ID is a number, not '${asked}'`);
  return streamSSE(context, async (stream) => {
    const left = new AbortController();
    stream.onAbort(() => left.abort());
    let afterId = Number(asked);
    while (!left.signal.aborted && !ended.aborted) {
      // Asked for before looking, so that nothing is missed in between.
      const next = changed(left.signal);
      const page = await events(system, { afterId });
      for (const event of page) {
        afterId = event.id;
        await stream.writeSSE({ id: String(event.id), event: event.type, data: JSON.stringify(event) });
      }
      // A page may be full: there can be more without any change.
      if (page.length === 0) await next;
    }
  });
}
