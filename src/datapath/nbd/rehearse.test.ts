// A rehearsal that fails is told to nobody: here it is seen to go through, and to leave nothing open.

import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { EAGAIN, openSyscalls } from '../../host/syscalls.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { makeRehearsalFolder } from './rehearsal-folder.ts';
import { rehearse } from './rehearse.ts';
import { FLUSHING_AT } from './shared-page.ts';

function folderFor(t: TestContext): string {
  const runFolder = mkdtempSync(join(tmpdir(), 'xvd-rehearse-'));
  t.after(() => rmSync(runFolder, { recursive: true }));
  return makeRehearsalFolder(runFolder);
}

const descriptors = (): number => readdirSync('/proc/self/fd').length;

function realSyscalls(): Syscalls {
  const syscalls = openSyscalls();
  assert.ok(syscalls !== null);
  return syscalls;
}

/** What a process without privileges gets of what it asks for. */
const ORDINARY_SEND_BYTES = 212_992;

for (const [who, sendBytes] of [
  ['root', Infinity],
  ['anybody', ORDINARY_SEND_BYTES],
] as const)
  test(`a rehearsal of ${who} reads, writes and flushes in each of its rounds, and leaves no descriptor and no record`, (t) => {
    const syscalls = realSyscalls();
    const folder = folderFor(t);
    const calls = { reads: 0, writes: 0, flushes: 0, told: 0, vain: 0, queues: 0, begun: 0, closed: 0 };
    const counting: Syscalls = {
      ...syscalls,
      growSendBuffer: (socket, wanted) => syscalls.growSendBuffer(socket, Math.min(wanted, sendBytes)),
      readAt: (...args) => {
        calls.reads += 1;
        return syscalls.readAt(...args);
      },
      writeAt: (...args) => {
        calls.writes += 1;
        return syscalls.writeAt(...args);
      },
      mapRange: (...args) => {
        calls.flushes += 1;
        return syscalls.mapRange(...args);
      },
      sendDescriptors: (...args) => {
        calls.told += 1;
        return syscalls.sendDescriptors(...args);
      },
      receive: (...args) => {
        const result = syscalls.receive(...args);
        if (result === -EAGAIN) calls.vain += 1;
        return result;
      },
      openRequestQueue: (...args) => {
        const queue = syscalls.openRequestQueue(...args);
        assert.ok(queue !== null);
        calls.queues += 1;
        return {
          ...queue,
          begin: (...asked) => {
            calls.begun += 1;
            return queue.begin(...asked);
          },
          close: () => {
            calls.closed += 1;
            queue.close();
            const zero = openSync('/dev/zero', 'r');
            assert.ok(queue.begin('read', 0, zero, 0, 512) < 0, 'the kernel has no such queue any more');
            closeSync(zero);
          },
        };
      },
      // As on a machine where each call takes long.
      microseconds: () => (now += 400),
    };
    let now = 0;
    const before = descriptors();
    rehearse(counting, folder);
    // Of direct I/O half are waited for, half begun ahead. Two of each are of the end, for each of the three sessions that are kept.
    assert.equal(calls.reads, 8 * 120 + 4 * 60 + 6);
    // Each long write is one block, and then what is left.
    assert.equal(calls.writes, 8 * 60 + 4 * 30 + 20 * 30 * 2 + 6);
    assert.equal(calls.begun, 4 * (60 + 30));
    assert.deepEqual([calls.queues, calls.closed], [1, 1]);
    assert.deepEqual([calls.told, calls.vain], [10, 8]);
    assert.ok(calls.flushes >= 8, `${calls.flushes} segments were flushed`);
    assert.equal(descriptors(), before);
    assert.deepEqual(readdirSync(join(folder, 'processes')), []);
  });

test('a queue is closed whatever happens, and who gets none asks for none again, nor for one to read ahead by', (t) => {
  const syscalls = realSyscalls();
  const folder = folderFor(t);
  const before = descriptors();
  let now = 0;
  const asked = { queues: 0, memory: 0, rings: 0, closed: 0 };
  const slow: Syscalls = {
    ...syscalls,
    microseconds: () => (now += 400),
    openReadQueue: () => {
      asked.rings += 1;
      return null;
    },
  };
  rehearse({ ...slow, openRequestQueue: () => ((asked.queues += 1), null) }, folder);
  rehearse({ ...slow, alignedMemory: () => ((asked.memory += 1), null) }, folder);
  const broken: Syscalls['openRequestQueue'] = (...args) => {
    const queue = syscalls.openRequestQueue(...args);
    assert.ok(queue !== null);
    const close = (): void => {
      asked.closed += 1;
      queue.close();
    };
    return {
      ...queue,
      close,
      wait: () => {
        throw new Error('broken');
      },
    };
  };
  rehearse({ ...slow, openRequestQueue: broken }, folder);
  assert.deepEqual(asked, { queues: 1, memory: 1, rings: 0, closed: 1 });
  assert.equal(descriptors(), before);
});

test('what others have left in the shared page changes nothing, and nothing is left there', (t) => {
  const folder = folderFor(t);
  const shared = join(folder, 'shared');
  // As if another one were flushing, or had been killed in it.
  const page = readFileSync(shared);
  page.writeInt32LE(1, FLUSHING_AT);
  writeFileSync(shared, page);
  const files = readdirSync(folder);
  rehearse(realSyscalls(), folder);
  assert.deepEqual(readdirSync(folder), files, 'nothing is poisoned');
  assert.deepEqual(readFileSync(shared), page);
});

test('a rehearsal without its folder, its sockets or its disk is none, and no failure', (t) => {
  const syscalls = realSyscalls();
  const folder = folderFor(t);
  const before = descriptors();
  rehearse(syscalls, undefined);
  rehearse(syscalls, join(folder, 'none'));
  rehearse({ ...syscalls, socketPair: () => null }, folder);
  rehearse({ ...syscalls, growSendBuffer: () => -1 }, folder);
  rehearse({ ...syscalls, sendDescriptors: () => -109 }, folder);
  rehearse({ ...syscalls, limitReceiving: () => -1 }, folder);
  // What was said does not arrive: it is not waited for.
  rehearse({ ...syscalls, send: () => -11 }, folder);
  writeFileSync(join(folder, 'plan.json'), 'garbage');
  rehearse(syscalls, folder);
  assert.equal(descriptors(), before);
  assert.deepEqual(readdirSync(join(folder, 'processes')), []);
});

test('the folder is made anew, whatever there is', (t) => {
  const folder = folderFor(t);
  truncateSync(join(folder, 'shared'));
  writeFileSync(join(folder, 'poisoned'), 'by whom?');
  makeRehearsalFolder(dirname(folder));
  assert.deepEqual(readdirSync(folder).toSorted(), ['counters', 'plan.json', 'processes', 'shared']);
  assert.ok(statSync(join(folder, 'shared')).size > 0);
});
