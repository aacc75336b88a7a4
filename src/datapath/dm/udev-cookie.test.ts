import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SemaphoreCalls } from '../../host/semaphore-calls.ts';
import { openCookie } from './udev-cookie.ts';

type Fake = SemaphoreCalls & { readonly keys: number[]; readonly removed: number[] };

/** `values`: what is read of it, one after another, and the last one for ever. */
function fake(values: readonly number[], make: (tries: number) => number = () => 5): Fake {
  const left = [...values];
  const keys: number[] = [];
  const removed: number[] = [];
  return {
    keys,
    removed,
    makeSemaphore: (key) => make(keys.push(key)),
    semaphoreValue: () => (left.length > 1 ? left.shift() : left[0]) ?? 0,
    removeSemaphore: (id) => (removed.push(id), 0),
  };
}

const failsWith = (text: RegExp, fix: RegExp) => (error: unknown) => text.test((error as Error).message) && fix.test((error as { fix: string }).fix);

test('the event bears the lower half of the key, and that it comes from who made the device', async () => {
  const semaphores = fake([1, 1, 0]);
  {
    using cookie = openCookie(semaphores);
    const [key = 0] = semaphores.keys;
    assert.deepEqual([key >>> 16, cookie.event >>> 16, cookie.event & 0xffff], [0x0d4d, 0x0040, key & 0xffff]);
    await cookie.done('x');
    assert.deepEqual(semaphores.removed, []);
  }
  assert.deepEqual(semaphores.removed, [5]);
});

for (const errno of [22, 43]) {
  test(`a semaphore that somebody removed meanwhile (error ${errno}) is done with`, async () => {
    using cookie = openCookie(fake([1, -errno]));
    await cookie.done('x');
  });
}

test('udev that is never done is told of', async () => {
  using cookie = openCookie(fake([1]));
  await assert.rejects(cookie.done('x', 5), failsWith(/not done with x after 5 ms/, /udevadm settle/));
});

test('a key that is taken is no failure, unless all are', () => {
  const semaphores = fake([0], (tries) => (tries < 4 ? -17 : 9));
  openCookie(semaphores);
  assert.equal(semaphores.keys.length, 4);
  assert.throws(() => openCookie(fake([0], () => -17)), failsWith(/file already exists/, /while nothing else makes devices/));
});

test('no room for a semaphore is told of at once', () => {
  const semaphores = fake([0], () => -28);
  assert.throws(() => openCookie(semaphores), failsWith(/no space left/, /udevcomplete_all/));
  assert.equal(semaphores.keys.length, 1);
});
