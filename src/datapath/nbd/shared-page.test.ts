import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeSharedPage, sharedPageBytes } from './shared-page.ts';
import type { Dirty } from './shared-page.ts';

const listed = ({ length, segments, counts }: Dirty): (readonly [number, number])[] =>
  Array.from({ length }, (_, index) => [segments[index] ?? -1, counts[index] ?? -1] as const);

test('a segment is dirty until a flush that began after its last write', () => {
  const page = makeSharedPage(new ArrayBuffer(sharedPageBytes(3)), 3);
  page.mark(2);
  const before = page.dirty();
  assert.deepEqual(listed(before), [[2, 1]]);
  page.mark(2);
  page.flushed(before);
  assert.deepEqual(listed(page.dirty()), [[2, 2]], 'written while it was flushed');
  page.mark(0);
  assert.deepEqual(listed(page.dirty()), [
    [0, 1],
    [2, 2],
  ]);
  page.flushed(page.dirty());
  assert.deepEqual(listed(page.dirty()), []);
});
