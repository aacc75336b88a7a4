import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { openSyscalls } from './syscalls.ts';

const EEXIST = 17;
const EINVAL = 22;
const EIDRM = 43;

const syscalls = openSyscalls();
assert.ok(syscalls !== null);
/** Not of the keys that device-mapper's rules take for theirs. */
const key = 0x7856_0000 + (process.pid & 0xffff);

test('a semaphore has the value that it was made with, and its key is taken until it is removed', (t) => {
  const id = syscalls.makeSemaphore(key, 1);
  t.after(() => syscalls.removeSemaphore(id));
  assert.ok(id >= 0);
  assert.equal(syscalls.semaphoreValue(id), 1);
  assert.equal(syscalls.makeSemaphore(key, 1), -EEXIST);
  assert.equal(syscalls.removeSemaphore(id), 0);
  const again = syscalls.makeSemaphore(key, 0);
  assert.equal(syscalls.semaphoreValue(again), 0);
  assert.equal(syscalls.removeSemaphore(again), 0);
});

test('one that somebody removed is told from one that still counts', () => {
  const id = syscalls.makeSemaphore(key, 1);
  execFileSync('ipcrm', ['--semaphore-id', String(id)]);
  assert.ok([-EINVAL, -EIDRM].includes(syscalls.semaphoreValue(id)));
  assert.ok([-EINVAL, -EIDRM].includes(syscalls.removeSemaphore(id)));
});

test('a value that no semaphore can have leaves none behind', () => {
  assert.equal(syscalls.makeSemaphore(key, 0x1_0000), -34);
  const id = syscalls.makeSemaphore(key, 1);
  assert.ok(id >= 0);
  syscalls.removeSemaphore(id);
});
