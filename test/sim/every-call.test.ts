import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inThread } from './in-thread.ts';
import { operations } from './operations.ts';

for (const name of Object.keys(operations)) {
  test(`${name}: a kill at every call, and every call failing`, async (t) => {
    const calls = await inThread<number>(new URL('./operations.ts', import.meta.url), 'sufferEveryCall', name);
    assert.ok(calls >= 3);
    t.diagnostic(`${calls} calls`);
  });
}
