// Waits for a condition, not for time: looks again until it holds, and says what it waited for when it never does.

import { setTimeout as pause } from 'node:timers/promises';

/** Resolves with the first result of `look` that is neither null, undefined nor false. */
export async function until<T>(what: string, look: () => T | Promise<T>, timeoutMs = 20_000): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found !== null && found !== undefined && found !== false) return found;
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs / 1000} s`);
    await pause(10);
  }
}
