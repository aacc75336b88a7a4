import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { bytes, MIB } from '../../base/units.ts';
import type { VbdPlan } from '../../core/types.ts';
import { openTestVbd } from './fixture-vbd.ts';
import { makeTrouble } from './make-trouble.ts';
import type { Trouble } from './make-trouble.ts';
import type { VbdIo } from './vbd-io.ts';

const none = Buffer.alloc(0);

function troubled(trouble: Partial<Trouble>): { readonly io: VbdIo; readonly done: string[] } {
  const done: string[] = [];
  const io: VbdIo = {
    read: () => void done.push('read'),
    write: () => void done.push('write'),
    zero: () => done.push('zero') > 0,
    flush: () => void done.push('flush'),
    expect: () => {},
    placeOf: () => null,
    status: () => [],
  };
  const sleepMs = (ms: number): void => void done.push(`${ms} ms`);
  return { io: makeTrouble(io, { delay: {}, faults: {}, sleepMs, chance: () => 0.5, ...trouble }), done };
}

test('a delay comes before the work, of its kind only; zeroes count as writes', () => {
  const { io, done } = troubled({ delay: { write: 20, flush: 5 } });
  io.read(0, none, 0, 0);
  io.write(0, none, 0, 0);
  io.zero(0, 512, { mayPunch: true, fastOnly: false });
  io.flush();
  assert.deepEqual(done, ['read', '20 ms', 'write', '20 ms', 'zero', '5 ms', 'flush']);
});

test('what fails has done nothing, and fails as often as was asked', () => {
  const { io, done } = troubled({ faults: { write: 0.51, read: 0.5, flush: 1 } });
  io.read(0, none, 0, 0);
  const fails = (work: () => unknown): void => assert.throws(work, (error: unknown) => (error as NodeJS.ErrnoException).code === 'EIO');
  fails(() => io.write(0, none, 0, 0));
  fails(() => io.zero(0, 512, { mayPunch: true, fastOnly: false }));
  fails(() => io.flush());
  assert.deepEqual(done, ['read']);
});

async function served(trouble: Pick<VbdPlan, 'delay' | 'faults'>) {
  return openTestVbd((folder): VbdPlan => {
    const path = join(folder, 'device');
    writeFileSync(path, Buffer.alloc(2 * MIB, 1));
    return {
      generation: 3,
      exportName: 'web01/xvda@3',
      mode: 'w',
      sizeBytes: bytes(2 * MIB),
      blockBytes: 512,
      cache: 'writeback',
      devices: [{ path, kind: 'file', identity: { kind: 'path', path }, sizeBytes: bytes(2 * MIB) }],
      segments: [{ deviceIndex: 0, offsetBytes: bytes(0), lengthBytes: bytes(2 * MIB) }],
      ...trouble,
    };
  });
}

/** What it said, whether or not all of it succeeded. */
const qemuIo = (uri: string, ...commands: readonly string[]): Promise<string> =>
  new Promise((resolve) => {
    execFile('qemu-io', ['-f', 'raw', ...commands.flatMap((command) => ['-c', command]), uri], (_, stdout, stderr) => resolve(stdout + stderr));
  });

test('a client sees I/O errors and goes on; what failed was not written, and the VBD is not poisoned', async () => {
  await using vbd = await served({ faults: { write: 1 } });
  const said = await qemuIo(vbd.uri, 'write -P 9 0 64k', 'write -z 0 64k', 'write -P 9 0 1M', 'read -P 1 0 2M');
  assert.equal(said.match(/Input\/output error/g)?.length, 3, said);
  assert.match(said, /read 2097152\/2097152 bytes/);
  assert.deepEqual(new Set(readFileSync(vbd.plan.devices[0]?.path ?? '')), new Set([1]));
  assert.equal(existsSync(join(vbd.folder, 'poisoned')), false);
  assert.ok(((await vbd.dataPath.stats(3))?.errors ?? 0) >= 3);
});

test('a flush that fails as asked poisons nothing: the next one is another', async () => {
  await using vbd = await served({ faults: { flush: 1 } });
  assert.match(await qemuIo(vbd.uri, 'write -f -P 9 0 4k', 'read -P 9 0 4k'), /write failed: Input\/output error[^]*read 4096\/4096 bytes/);
  assert.equal(existsSync(join(vbd.folder, 'poisoned')), false);
});

test('a delay is part of what a request took, in its own histogram only', async () => {
  await using vbd = await served({ delay: { read: 40 } });
  assert.match(await qemuIo(vbd.uri, 'write -P 9 0 4k', 'read -P 9 0 4k'), /read 4096\/4096 bytes/);
  const latencies = (await vbd.dataPath.stats(3))?.latencies ?? {};
  // Bucket 16 begins at 2^15 microseconds.
  const late = (kind: string): number => (latencies[kind] ?? []).slice(16).reduce((sum, count) => sum + count, 0);
  assert.ok(late('read') > 0);
  assert.equal(
    (latencies['read'] ?? []).slice(0, 16).reduce((sum, count) => sum + count, 0),
    0,
    'no read was faster',
  );
});
