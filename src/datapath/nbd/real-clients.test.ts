import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { closeSync, ftruncateSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { bytes, MIB } from '../../base/units.ts';
import type { VbdPlan } from '../../core/types.ts';
import { openTestVbd } from './fixture-vbd.ts';

const run = promisify(execFile);

/** 8 MiB in two segments out of order on a file with data in its last 2 MiB only. */
async function sparse() {
  return openTestVbd((folder): VbdPlan => {
    const path = join(folder, 'sparse');
    const fd = openSync(path, 'w');
    ftruncateSync(fd, 8 * MIB);
    writeSync(fd, Buffer.alloc(2 * MIB, 7), 0, 2 * MIB, 6 * MIB);
    closeSync(fd);
    const segment = (offset: number) => ({ deviceIndex: 0, offsetBytes: bytes(offset), lengthBytes: bytes(4 * MIB) });
    return {
      generation: 3,
      exportName: 'web01/xvda@3',
      mode: 'w',
      sizeBytes: bytes(8 * MIB),
      blockBytes: 512,
      cache: 'writeback',
      devices: [{ path, kind: 'file', identity: { kind: 'path', path }, sizeBytes: bytes(8 * MIB) }],
      segments: [segment(4 * MIB), segment(0)],
    };
  });
}

test('nbdinfo and qemu-img map show holes where the file has them, in the order of the disk', async () => {
  await using vbd = await sparse();
  const map = JSON.parse((await run('nbdinfo', ['--map', '--json', vbd.uri])).stdout) as { offset: number; length: number; type: number }[];
  assert.deepEqual(
    map.map(({ offset, length, type }) => [offset, length, type]),
    [
      [0, 2 * MIB, 3],
      [2 * MIB, 2 * MIB, 0],
      [4 * MIB, 4 * MIB, 3],
    ],
  );
  const qemu = JSON.parse((await run('qemu-img', ['map', '--output=json', '-f', 'raw', vbd.uri])).stdout) as { start: number; length: number; zero: boolean }[];
  assert.deepEqual(
    qemu.map(({ start, length, zero }) => [start, length, zero]),
    [
      [0, 2 * MIB, true],
      [2 * MIB, 2 * MIB, false],
      [4 * MIB, 4 * MIB, true],
    ],
  );
});

test('the contexts of xvd tell run and device', async () => {
  await using vbd = await sparse();
  const runs = JSON.parse((await run('nbdinfo', ['--map=xvd:run', '--json', vbd.uri])).stdout) as { offset: number; type: number }[];
  assert.deepEqual(
    runs.map(({ offset, type }) => [offset, type]),
    [
      [0, 0],
      [4 * MIB, 1],
    ],
  );
  const devices = JSON.parse((await run('nbdinfo', ['--map=xvd:device', '--json', vbd.uri])).stdout) as { length: number; type: number }[];
  assert.deepEqual(
    devices.map(({ length, type }) => [length, type]),
    [[8 * MIB, 0]],
  );
});

test('qemu-img converts a qcow2 image in and out, and finds it equal', async () => {
  await using vbd = await sparse();
  const [raw, image] = [join(vbd.folder, 'raw'), join(vbd.folder, 'image.qcow2')];
  writeFileSync(raw, Buffer.concat([Buffer.alloc(3 * MIB, 1), Buffer.alloc(2 * MIB), Buffer.alloc(3 * MIB, 2)]));
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, image]);
  await run('qemu-img', ['convert', '-n', '-f', 'qcow2', '-O', 'raw', image, vbd.uri]);
  await run('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', image, vbd.uri]);
  const out = join(vbd.folder, 'out.qcow2');
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', vbd.uri, out]);
  await run('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', raw, out]);
  assert.match((await run('qemu-img', ['check', out])).stdout, /No errors/);
});

test('nbdcopy between two exports makes them equal', async () => {
  await using from = await sparse();
  await using into = await sparse();
  await run('qemu-io', ['-f', 'raw', '-c', 'write -P 9 1M 3M', from.uri]);
  await run('nbdcopy', [from.uri, into.uri]);
  await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', from.uri, into.uri]);
  assert.deepEqual(readFileSync(join(into.folder, 'sparse')), readFileSync(join(from.folder, 'sparse')));
});

test("nbdkit's nbd plugin and libnbd's Python binding read what is there, and see the errors", async () => {
  await using vbd = await sparse();
  const through = await run('nbdkit', ['--exit-with-parent', '-U', '-', 'nbd', `uri=${vbd.uri}`, '--run', 'nbdinfo --size "$uri"']);
  assert.equal(through.stdout.trim(), String(8 * MIB));
  const script = [
    'import nbd, sys',
    'h = nbd.NBD(); h.connect_uri(sys.argv[1]); h.set_strict_mode(0)',
    'h.pwrite(b"x" * 512, 512); h.flush()',
    'assert h.pread(512, 512) == b"x" * 512',
    'import errno',
    'for call, error in ((lambda: h.pread(512, h.get_size()), errno.EINVAL), (lambda: h.pwrite(b"y" * 512, h.get_size()), errno.ENOSPC)):',
    '    try: call(); raise SystemExit("passed")',
    '    except nbd.Error as e: assert e.errnum == error, e',
    'h.shutdown()',
  ].join('\n');
  // Debian's own: the binding is a package of Debian.
  await run('/usr/bin/python3', ['-c', script, vbd.uri]);
});
