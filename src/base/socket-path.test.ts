import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requireSocketPath } from './socket-path.ts';

test('requireSocketPath() counts bytes, not letters: 107 fit', () => {
  requireSocketPath(`/${'a'.repeat(106)}`);
  requireSocketPath(`/${'é'.repeat(53)}`);
  for (const long of [`/${'a'.repeat(107)}`, `/${'é'.repeat(54)}`]) assert.throws(() => requireSocketPath(long), { code: 'VALUE_INVALID', fix: /XVD_RUN/ });
  assert.throws(() => requireSocketPath('a'.repeat(108), 'Shorter.'), { fix: 'Shorter.' });
});
