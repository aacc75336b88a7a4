// Waiting for other processes: tries again at random short intervals, so that no writer starves behind one that is quicker
// to ask (SQLite's own waiting does that, and blocks the whole process).

import { setTimeout as delay } from 'node:timers/promises';

import type { Random } from '../../base/clock.ts';
import { XvdError } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import { Busy } from './connection.ts';

export type Retry = {
  readonly limitMs?: number;
  readonly sleep?: (ms: number) => Promise<void>;
};

/** Upper end of the interval: some commits of others, each of about a millisecond. */
const INTERVAL_MS = 8;

export async function retrying<T>(path: string, random: Random, retry: Retry, attempt: () => T): Promise<T> {
  const { limitMs = limits.catalogLockMs, sleep = delay } = retry;
  for (let waitedMs = 0; ;) {
    try {
      return attempt();
    } catch (error) {
      if (!(error instanceof Busy)) throw error;
      if (waitedMs >= limitMs) {
        throw new XvdError('CATALOG_LOCKED', `the catalog ${path} was locked by another process for ${limitMs} ms`, { cause: error });
      }
    }
    const ms = 1 + random.integer(INTERVAL_MS);
    await sleep(ms);
    waitedMs += ms;
  }
}
