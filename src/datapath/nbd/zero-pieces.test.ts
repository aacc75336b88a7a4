import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { bytes, MIB } from '../../base/units.ts';
import type { VbdPlan } from '../../core/types.ts';
import { FALLOC_FL_PUNCH_HOLE, openSyscalls } from '../../host/syscalls.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { makeDeviceIo } from './device-io.ts';
import { answerOf, connectRaw, handshakeRaw, requestBytes } from './fixture-client.ts';
import type { RequestFields } from './fixture-client.ts';
import { openTestVbd } from './fixture-vbd.ts';
import { CMD, CMD_FLAG, NBD_ERROR } from './wire/constants.ts';
import { makeZeroPieces } from './zero-pieces.ts';
import type { HowToZero, Piece } from './zero-pieces.ts';

const NOT_SUPPORTED = -95;
const FAST = { mayPunch: true, fastOnly: true };
const piece = (device: number, deviceOffset: number, length: number): Piece => ({ device, deviceOffset, length, segment: device });

type Zeroing = Disposable & {
  zero(pieces: readonly Piece[], how: HowToZero): boolean;
  content(device: number): Buffer;
  /** Segments that were touched. */
  readonly marked: Set<number>;
};

/** Two files of 64 KiB of sevens; `can`: what the filesystem of each says to a mode of fallocate. */
function twoFiles(can: (device: number, mode: number) => boolean): Zeroing {
  const calls = openSyscalls();
  assert.ok(calls !== null);
  const folder = mkdtempSync(join(tmpdir(), 'xvd-zero-'));
  const paths = [0, 1].map((device) => join(folder, String(device)));
  const fds = paths.map((path) => {
    writeFileSync(path, Buffer.alloc(65_536, 7));
    return openSync(path, 'r+');
  });
  const fallocate: Syscalls['fallocate'] = (fd, mode, offset, length) =>
    can(fds.indexOf(fd), mode) ? calls.fallocate(fd, mode, offset, length) : NOT_SUPPORTED;
  const marked = new Set<number>();
  const zero = makeZeroPieces({
    plan: {
      devices: paths.map((path) => ({ path, kind: 'file', identity: { kind: 'path', path }, sizeBytes: bytes(65_536) })),
      blockBytes: 512,
    },
    fdOf: (device) => fds[device] ?? -1,
    syscalls: { ...calls, fallocate },
    write: makeDeviceIo(calls).writeAll,
    mark: (segment) => void marked.add(segment),
  });
  return {
    zero,
    marked,
    content: (device) => readFileSync(paths[device] ?? ''),
    [Symbol.dispose]() {
      for (const fd of fds) closeSync(fd);
      rmSync(folder, { recursive: true });
    },
  };
}

const isPunch = (mode: number): boolean => (mode & FALLOC_FL_PUNCH_HOLE) !== 0;
const [first, second] = [piece(0, 4096, 8192), piece(1, 0, 4096)];

const isZero = (content: Uint8Array): boolean => content.every((byte) => byte === 0);

test('fast zeroes over two devices of which the second has no fast way: refused before anything is touched', () => {
  for (const mode of [FAST, { mayPunch: false, fastOnly: true }]) {
    using files = twoFiles((device) => device === 0);
    assert.equal(files.zero([first, second], mode), false);
    for (const device of [0, 1]) assert.ok(files.content(device).every((byte) => byte === 7));
    assert.deepEqual([...files.marked], []);
    assert.equal(files.zero([first, second], { ...mode, fastOnly: false }), true, 'and done where time does not matter');
    assert.ok(isZero(files.content(0).subarray(4096, 12_288)));
    assert.ok(isZero(files.content(1).subarray(0, 4096)));
    assert.deepEqual([files.content(0)[4095], files.content(0)[12_288], files.content(1)[4096]], [7, 7, 7]);
    assert.deepEqual([...files.marked], [0, 1]);
  }
});

test('fast zeroes over two devices that have a fast way are done on both', () => {
  using files = twoFiles(() => true);
  assert.equal(files.zero([first, second], FAST), true);
  assert.ok(isZero(files.content(0).subarray(4096, 12_288)));
  assert.ok(isZero(files.content(1).subarray(0, 4096)));
  assert.deepEqual([files.content(0).length, files.content(1).length], [65_536, 65_536], 'asking what they can has not changed their sizes');
});

test('without holes, runs of one file are zeroed as its filesystem can; of several, when all but one are known to', () => {
  using files = twoFiles((_, mode) => !isPunch(mode));
  const other = piece(1, 16_384, 4096);
  assert.equal(files.zero([first, second], FAST), false, 'neither is known');
  assert.deepEqual([...files.marked], []);
  assert.equal(files.zero([second, other], FAST), true);
  assert.equal(files.zero([second, first], FAST), true);
  assert.ok(isZero(files.content(0).subarray(4096, 12_288)));
  assert.ok(isZero(files.content(1).subarray(16_384, 20_480)));
  using half = twoFiles((device, mode) => device === 0 && !isPunch(mode));
  assert.equal(half.zero([first], FAST), true);
  assert.equal(half.zero([piece(0, 16_384, 4096), second], FAST), false);
  assert.equal(half.content(0)[16_384], 7, 'the one that is not known is asked first');
});

test('one piece of a file without holes is zeroed as its filesystem can, or refused untouched', () => {
  using able = twoFiles((_, mode) => !isPunch(mode));
  assert.equal(able.zero([second], FAST), true);
  assert.ok(
    able
      .content(1)
      .subarray(0, 4096)
      .every((byte) => byte === 0),
  );
  using unable = twoFiles(() => false);
  assert.equal(unable.zero([second], FAST), false);
  assert.ok(unable.content(1).every((byte) => byte === 7));
});

test('I5: a drive that can not zero refuses fast zeroes and ignores a trim, and loses nothing that was written and not yet flushed', async () => {
  using stack = new DisposableStack();
  const folder = mkdtempSync(join(tmpdir(), 'xvd-zero-'));
  const memory = join(folder, 'memory');
  mkdirSync(memory);
  stack.defer(() => rmSync(folder, { recursive: true }));
  // A loop device on a filesystem without holes has no way to zero.
  execFileSync('mount', ['-t', 'ramfs', 'xvd-test', memory]);
  stack.defer(() => execFileSync('umount', [memory]));
  writeFileSync(join(memory, 'drive'), Buffer.alloc(4 * MIB, 7));
  const device = execFileSync('losetup', ['--find', '--show', join(memory, 'drive')], { encoding: 'utf8' }).trim();
  stack.defer(() => execFileSync('losetup', ['--detach', device]));
  await using vbd = await openTestVbd((): VbdPlan => {
    const run = (offset: number) => ({ deviceIndex: 0, offsetBytes: bytes(offset), lengthBytes: bytes(MIB) });
    return {
      generation: 5,
      exportName: 'web01/xvda@5',
      mode: 'w',
      sizeBytes: bytes(2 * MIB),
      blockBytes: 512,
      cache: 'writeback',
      devices: [{ path: device, kind: 'block', identity: { kind: 'path', path: device }, sizeBytes: bytes(4 * MIB) }],
      segments: [run(2 * MIB), run(0)],
    };
  });
  const client = await connectRaw(vbd.socketPath);
  await handshakeRaw(client, vbd.plan.exportName);
  const ask = (fields: RequestFields, payload: Uint8Array = new Uint8Array(0)): Promise<Uint8Array> => {
    client.send(Buffer.concat([requestBytes(fields), payload]));
    return answerOf(client);
  };
  const range = { offset: MIB - 64 * 1024, length: 128 * 1024 };
  await ask({ type: CMD.WRITE, ...range }, Buffer.alloc(range.length, 9));
  await assert.rejects(ask({ type: CMD.WRITE_ZEROES, flags: CMD_FLAG.FAST_ZERO, ...range }), { number: NBD_ERROR.ENOTSUP });
  await ask({ type: CMD.TRIM, ...range });
  assert.ok((await ask({ type: CMD.READ, ...range })).every((byte) => byte === 9));
  await ask({ type: CMD.WRITE_ZEROES, ...range });
  assert.ok((await ask({ type: CMD.READ, ...range })).every((byte) => byte === 0));
  client.end();
});
