// A rehearsal that fails is told to nobody: here it is seen to go through, and to leave nothing open.

import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { openSyscalls } from '../../host/syscalls.ts';
import { makeRehearsalFolder } from './rehearsal-folder.ts';
import { rehearse } from './rehearse.ts';

function folderFor(t: TestContext): string {
  const runFolder = mkdtempSync(join(tmpdir(), 'xvd-rehearse-'));
  t.after(() => rmSync(runFolder, { recursive: true }));
  return makeRehearsalFolder(runFolder, null);
}

test('a rehearsal reads, writes and flushes in each of its rounds, and leaves no descriptor and no record', (t) => {
  const syscalls = openSyscalls();
  assert.ok(syscalls !== null);
  const folder = folderFor(t);
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
  rehearse(counting, folder);
  assert.equal(calls.reads, 9 * 120);
  assert.ok(calls.writes >= 9 * 60 + 12 * 3 * 9, `${calls.writes} writes`);
  assert.ok(calls.flushes >= 9, `${calls.flushes} segments were flushed`);
  assert.equal(readdirSync('/proc/self/fd').length, before);
  assert.deepEqual(readdirSync(join(folder, 'processes')), []);
});

test('a rehearsal without its folder, its sockets or its disk is none, and no failure', (t) => {
  const syscalls = openSyscalls();
  assert.ok(syscalls !== null);
  const folder = folderFor(t);
  rehearse(syscalls, join(folder, 'none'));
  rehearse(syscalls, '');
  rehearse({ ...syscalls, socketPair: () => null }, folder);
  rehearse({ ...syscalls, growSendBuffer: () => -1 }, folder);
  // What was said does not arrive: it is not waited for.
  rehearse({ ...syscalls, send: () => -11 }, folder);
});
