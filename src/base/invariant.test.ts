// An invariant stops the program where a bug shows, and says which.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { invariant, InvariantError, unreachable } from './invariant.ts';

test('invariant() passes what holds and throws what does not, by name', () => {
  invariant(1, 'one is something');
  assert.throws(() => invariant(0, 'zero is nothing'), { name: 'InvariantError', message: 'zero is nothing' });
});

test('unreachable() shows the value that should not have been', () => {
  assert.throws(
    () => unreachable({ kind: 'new' } as never),
    (error) => error instanceof InvariantError && error.message.includes('"new"'),
  );
});
