// Idempotency-Key: the same key with the same request gives the same answer, once done; with another request it is refused.
// Answers are kept in memory, bounded; failures are not kept, so that a request can be tried again.

import { XvdError } from '../base/error.ts';

const KEPT = 1000;

export type Idempotency = (key: string, request: string, run: () => Promise<unknown>) => Promise<unknown>;

export function idempotency(): Idempotency {
  const kept = new Map<string, { readonly request: string; readonly answer: Promise<unknown> }>();
  return async (key, request, run) => {
    const before = kept.get(key);
    if (before !== undefined) {
      if (before.request !== request) throw new XvdError('IDEMPOTENCY_CONFLICT', `the key '${key}' was used for another request`);
      return before.answer;
    }
    const answer = run();
    kept.set(key, { request, answer });
    const [oldest] = kept.keys();
    if (kept.size > KEPT && oldest !== undefined) kept.delete(oldest);
    try {
      return await answer;
    } catch (error) {
      kept.delete(key);
      throw error;
    }
  };
}
