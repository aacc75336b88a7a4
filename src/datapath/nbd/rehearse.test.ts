// A rehearsal that fails is told to nobody: here it is seen to go through, and to leave nothing open.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { openSyscalls } from '../../host/syscalls.ts';
import { rehearse } from './rehearse.ts';

test('a rehearsal reads, writes and flushes in each of its rounds, and leaves no descriptor', () => {
  const syscalls = openSyscalls();
  assert.ok(syscalls !== null);
  const calls = { reads: 0, writes: 0, flushes: 0 };
  const counting = {
    ...syscalls,
    readAt: (...args: Parameters<typeof syscalls.readAt>) => {
      calls.reads += 1;
      return syscalls.readAt(...args);
    },
    writeAt: (...args: Parameters<typeof syscalls.writeAt>) => {
      calls.writes += 1;
      return syscalls.writeAt(...args);
    },
    mapRange: (...args: Parameters<typeof syscalls.mapRange>) => {
      calls.flushes += 1;
      return syscalls.mapRange(...args);
    },
  };
  const before = readdirSync('/proc/self/fd').length;
  rehearse(counting);
  assert.equal(calls.reads, 8 * 120);
  assert.ok(calls.writes >= 8 * 60 + 4, `${calls.writes} writes`);
  assert.ok(calls.flushes >= 8, `${calls.flushes} segments were flushed`);
  assert.equal(readdirSync('/proc/self/fd').length, before);
});

test('a rehearsal without its sockets or its disk is none, and no failure', () => {
  const syscalls = openSyscalls();
  assert.ok(syscalls !== null);
  rehearse({ ...syscalls, socketPair: () => null });
  rehearse({ ...syscalls, growSendBuffer: () => -1 });
  // What was said does not arrive: it is not waited for.
  rehearse({ ...syscalls, send: () => -11 });
});
