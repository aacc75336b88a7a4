// The locks by which a process says that its memory is not gone yet.

import assert from 'node:assert/strict';
import { chownSync, closeSync, mkdirSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openSyscalls } from '../../host/syscalls.ts';
import { openTo, vbdFolder, withMemory } from './vbd-folder.ts';
import type { VbdFolder } from './vbd-folder.ts';

const NOBODY = 65_534;

function emptyFolder(): VbdFolder & Disposable {
  const run = mkdtempSync(join(tmpdir(), 'xvd-folder-'));
  const folder = vbdFolder(run, 1);
  mkdirSync(folder.path, { recursive: true, mode: 0o700 });
  writeFileSync(folder.shared, new Uint8Array(4096));
  return { ...folder, [Symbol.dispose]: () => rmSync(run, { recursive: true }) };
}

test('I2: every process that holds a lock is found, in whatever order they took them', () => {
  const syscalls = openSyscalls();
  assert.ok(syscalls !== null);
  for (const pids of [
    [400, 500, 600],
    [500, 400, 600],
    [600, 500, 400],
    [500, 600, 499, 501],
  ]) {
    using folder = emptyFolder();
    const held = pids.map((pid) => {
      const fd = openSync(folder.shared, 'r+');
      assert.equal(syscalls.lockByte(fd, pid), 0);
      return fd;
    });
    assert.deepEqual(new Set(withMemory(folder, syscalls)), new Set(pids), pids.join());
    const other = openSync(folder.shared, 'r+');
    assert.equal(syscalls.lockByte(other, pids[0] ?? 0), -11);
    for (const fd of [...held, other]) closeSync(fd);
    assert.deepEqual(withMemory(folder, syscalls), []);
  }
});

test('without the file that the locks are on there is no proof', () => {
  using folder = emptyFolder();
  rmSync(folder.shared);
  assert.throws(() => withMemory(folder, openSyscalls()), { code: 'FENCE_UNPROVED' });
});

test('a daemon that may not give the socket away says so, and what to do', () => {
  using folder = emptyFolder();
  const run = join(folder.path, '..', '..');
  writeFileSync(folder.socket, '');
  for (const path of [run, join(run, 'vbd'), folder.path, folder.socket]) chownSync(path, NOBODY, NOBODY);
  process.seteuid?.(NOBODY);
  try {
    assert.throws(() => openTo(folder, run, { mode: 0o660, uid: 0, gid: null }), { code: 'NOT_PERMITTED', message: /nbd\.sock/, fix: /nbd_socket_owner/ });
  } finally {
    process.seteuid?.(0);
  }
});

test('a folder that was open for passing through is closed again when nobody else may connect any more', () => {
  using folder = emptyFolder();
  const run = join(folder.path, '..', '..');
  writeFileSync(folder.socket, '');
  openTo(folder, run, { mode: 0o660, uid: null, gid: null });
  assert.deepEqual([statSync(folder.path).mode & 0o777, statSync(folder.socket).mode & 0o777], [0o711, 0o660]);
  openTo(folder, run, null);
  assert.deepEqual([statSync(folder.path).mode & 0o777, statSync(folder.socket).mode & 0o777], [0o700, 0o600]);
});
