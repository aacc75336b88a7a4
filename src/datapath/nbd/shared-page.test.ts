import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeSharedPage, sharedPageBytes } from './shared-page.ts';

test('a segment is dirty until a flush that began after its last write', () => {
  const page = makeSharedPage(new ArrayBuffer(sharedPageBytes(3)), 3);
  page.mark(2);
  const before = page.dirty();
  assert.deepEqual(before, [{ segment: 2, count: 1 }]);
  page.mark(2);
  page.flushed(before);
  assert.deepEqual(page.dirty(), [{ segment: 2, count: 2 }], 'written while it was flushed');
  page.flushed(page.dirty());
  assert.deepEqual(page.dirty(), []);
});
