import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COUNTERS_BYTES, countersOf, makeSharedPage, sharedPageBytes } from './shared-page.ts';

test('latencies are counted by kind in powers of two of a microsecond, and read from the head of the page', () => {
  const memory = new ArrayBuffer(sharedPageBytes(3));
  const page = makeSharedPage(memory, 3);
  for (const ms of [0, 0.0005, 0.001, 0.0019, 0.1, 3_600_000]) page.took('read', ms);
  page.took('flush', 1);
  page.count('reads', 6);
  page.mark(2);
  assert.equal(countersOf(new Uint8Array(memory).slice(0, COUNTERS_BYTES), 4).reads, 0);
  page.publish();
  page.publish();
  const { reads, connections, latencies } = countersOf(new Uint8Array(memory).slice(0, COUNTERS_BYTES), 4);
  assert.deepEqual([reads, connections], [6, 4]);
  const filled = (kind: string): [number, number][] => (latencies?.[kind] ?? []).flatMap((count, bucket) => (count === 0 ? [] : [[bucket, count]]));
  assert.deepEqual(filled('read'), [
    [0, 2],
    [1, 2],
    [7, 1],
    [23, 1],
  ]);
  assert.deepEqual(filled('flush'), [[10, 1]]);
  assert.deepEqual(filled('write'), []);
  assert.deepEqual(page.dirty(), [{ segment: 2, count: 1 }], 'and what is to be flushed is not touched');
});
