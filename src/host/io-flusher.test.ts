import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startFlusher } from './io-flusher.ts';
import type { Syscalls } from './syscalls.ts';

/** Only what is asked of the kernel is told. */
function recorded(): { readonly syscalls: Syscalls; readonly said: unknown[] } {
  const said: unknown[] = [];
  const prctl = (option: number, argument: number): number => said.push([option, argument]);
  return { syscalls: { prctl } as unknown as Syscalls, said };
}

test('a program is started while this process is a flusher, which it is no more after that', () => {
  const { syscalls, said } = recorded();
  assert.deepEqual(
    startFlusher(syscalls, () => ({ pid: undefined, started: said.push('started') })),
    { pid: undefined, started: 2 },
  );
  assert.deepEqual(said, [[57, 1], 'started', [57, 0]]);
});

test('it is no flusher either when the program did not start', () => {
  const { syscalls, said } = recorded();
  const fail = (): never => assert.fail('no such program');
  assert.throws(() => startFlusher(syscalls, fail), /no such program/);
  assert.deepEqual(said, [
    [57, 1],
    [57, 0],
  ]);
});
