// The I/O priority of wiping, as the kernel tells it of every thread.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { bytes } from '../../base/units.ts';
import { openPrograms } from '../programs.ts';
import { idleIo } from './io-priority.ts';
import { openLinuxHost } from './open-linux-host.ts';
import { threadClasses } from './fixture-threads.ts';

test('the threads that do the I/O are idle for so long, and then what they were; the main thread never is', async () => {
  await stat('.'); // Node starts its threads with the first call.
  const before = threadClasses(process.pid);
  assert.ok(before.size > 1 && ![...before.values()].includes('idle'), 'not before');
  const first = idleIo();
  const second = idleIo();
  for (const [thread, kind] of threadClasses(process.pid)) assert.equal(kind === 'idle', thread !== process.pid, `thread ${thread}`);
  first[Symbol.dispose]();
  assert.ok([...threadClasses(process.pid).values()].includes('idle'), 'as long as one is left');
  second[Symbol.dispose]();
  assert.deepEqual(threadClasses(process.pid), before);
});

test('zero() runs at the idle priority when it is told to', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-idle-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'device');
  writeFileSync(path, '');
  truncateSync(path, 4 << 20);
  for (const idleWipes of [true, false]) {
    const host = openLinuxHost({ programs: openPrograms({ searchPath: process.env['PATH'] ?? '' }), runFolder: folder, idleWipes });
    const { identity, sizeBytes } = await host.inspect(path);
    const device = { path, kind: 'file', identity: identity ?? { kind: 'path', path }, sizeBytes } as const;
    const seen = new Set<boolean>();
    await host.zero(
      device,
      [{ offsetBytes: bytes(0), lengthBytes: bytes(1 << 20) }],
      () => void seen.add([...threadClasses(process.pid).values()].includes('idle')),
    );
    assert.deepEqual([...seen], [idleWipes]);
  }
  assert.equal(statSync(path).size, 4 << 20);
});
