import assert from 'node:assert/strict';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { bytes } from '../../base/units.ts';
import type { VbdPlan } from '../../core/types.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { makeFlush, makePoison } from './flush-vbd.ts';
import { makeSharedPage, sharedPageBytes } from './shared-page.ts';

const EIO = 5;

/** One VBD of two segments on a file; what the kernel would say is `answers`. */
function world() {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-flush-'));
  const fd = openSync(join(folder, 'device'), 'w+');
  const page = makeSharedPage(new ArrayBuffer(sharedPageBytes(2)), 2);
  const answers = { sync: 0, mapped: true, synced: 0, unmapped: 0, witness: 0, asked: [] as number[], during: (): void => {} };
  const segment = (offset: number) => ({ deviceIndex: 0, offsetBytes: bytes(offset), lengthBytes: bytes(4096) });
  const plan = { segments: [segment(0), segment(8192)], devices: [{}] } as unknown as VbdPlan;
  const calls = {
    writeBack: () => 0,
    writeBackError: (_: number, offset: number) => (answers.asked.push(offset), answers.witness),
    mapRange: () =>
      !answers.mapped ? null : { sync: () => (answers.during(), (answers.synced += 1), answers.sync), unmap: () => void (answers.unmapped += 1) },
  } as unknown as Syscalls;
  const connection = (path = join(folder, 'poisoned'), fdOf = () => fd) =>
    makeFlush({ plan, fdOf, witnesses: [fd], syscalls: calls, page, poison: makePoison(page, path) });
  return {
    folder,
    page,
    answers,
    connection,
    [Symbol.dispose]() {
      closeSync(fd);
      rmSync(folder, { recursive: true });
    },
  };
}

const failed = { code: 'DEVICE_FAILED' };

test('a failed write-back fails that flush and every later one of every connection, also of those to come', () => {
  using vbd = world();
  const [one, other] = [vbd.connection(), vbd.connection()];
  vbd.page.mark(0);
  vbd.answers.sync = -EIO;
  assert.throws(one, failed);
  // The kernel tells it once.
  vbd.answers.sync = 0;
  assert.throws(one, failed);
  assert.throws(other, failed);
  assert.throws(vbd.connection(), failed);
  assert.match(readFileSync(join(vbd.folder, 'poisoned'), 'utf8'), /error 5/);
});

test('no room for the file that says so: every connection fails nevertheless, and the daemon is told when there is room', () => {
  using vbd = world();
  const path = join(vbd.folder, 'absent', 'poisoned');
  const [one, other] = [vbd.connection(path), vbd.connection(path)];
  vbd.page.mark(1);
  vbd.answers.sync = -EIO;
  assert.throws(one, /error 5/, 'not the error of the file');
  vbd.answers.sync = 0;
  assert.throws(other, failed);
  assert.equal(existsSync(path), false);

  const halfWritten = join(vbd.folder, 'poisoned');
  writeFileSync(halfWritten, '');
  assert.throws(vbd.connection(halfWritten), failed);
  assert.match(readFileSync(halfWritten, 'utf8'), /write-back/);
});

test('a segment that can not be mapped is flushed with its whole device; only when that fails the VBD is poisoned', () => {
  using vbd = world();
  const flush = vbd.connection();
  vbd.page.mark(0);
  flush();
  assert.equal(vbd.answers.synced, 1);
  vbd.page.mark(1);
  vbd.answers.mapped = false;
  flush();
  assert.deepEqual([vbd.answers.synced, vbd.answers.unmapped, vbd.page.dirty().length], [1, 1, 0]);
  vbd.page.mark(1);
  assert.throws(
    vbd.connection(undefined, () => 1_000_000),
    /EBADF/,
  );
  assert.throws(flush, failed);
});

test('the witnesses are asked when another connection is flushing, has begun meanwhile, or was killed in a flush; not else', () => {
  using vbd = world();
  const [one, other] = [vbd.connection(), vbd.connection()];
  vbd.page.mark(1);
  one();
  assert.deepEqual(vbd.answers.asked, [], 'nobody else is flushing');
  vbd.page.mark(1);
  // One flush within the other: the inner one begins late, and ends before the outer one.
  vbd.answers.during = () => {
    vbd.answers.during = () => {};
    other();
  };
  one();
  assert.deepEqual(vbd.answers.asked, [0], 'the inner one asks, at a page of its own VBD; what it had found would be on the page');
  vbd.page.mark(1);
  vbd.answers.during = () => vbd.page.beginFlush();
  one();
  assert.equal(vbd.answers.asked.length, 2, 'killed in a flush that began later');
  vbd.answers.during = () => {};
  other();
  assert.equal(vbd.answers.asked.length, 3);
  vbd.answers.witness = -EIO;
  assert.throws(one, /error 5/);
  vbd.answers.witness = 0;
  assert.throws(other, failed);
});
