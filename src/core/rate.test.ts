import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRate } from './rate.ts';

test('a limit is bytes, requests or both, with units', () => {
  assert.deepEqual(parseRate('10M'), { bytesPerSecond: 10 * 1024 * 1024 });
  assert.deepEqual(parseRate('500iops'), { requestsPerSecond: 500 });
  assert.deepEqual(parseRate('1GB, 500 IOPS'), { bytesPerSecond: 1e9, requestsPerSecond: 500 });
});

test('a limit without a unit, or of nothing, is refused', () => {
  for (const text of ['500', '0iops', '', '0M', 'fast']) assert.throws(() => parseRate(text), { code: 'VALUE_INVALID' }, text);
});
