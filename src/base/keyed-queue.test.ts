import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keyedQueue } from './keyed-queue.ts';

test('of one key one at a time, in order, also after a failure', async () => {
  const queue = keyedQueue();
  const seen: string[] = [];
  const first = Promise.withResolvers<void>();
  const one = queue('a', async () => {
    await first.promise;
    seen.push('one');
    throw new Error('one fails');
  });
  const two = queue('a', async () => void seen.push('two'));
  await queue('b', async () => void seen.push('other key'));
  first.resolve();
  await assert.rejects(one);
  await two;
  assert.deepEqual(seen, ['other key', 'one', 'two']);
});
