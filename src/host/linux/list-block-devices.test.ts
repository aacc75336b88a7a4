import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { listBlockDevices } from './list-block-devices.ts';

test('drives and partitions with a size are listed by their nodes; an empty loop device is not', async () => {
  const sys = mkdtempSync(join(tmpdir(), 'xvd-sys-'));
  try {
    for (const [name, size] of [
      ['sda', '100'],
      ['sda1', '50'],
      ['cciss!c0d0', '7'],
      ['loop0', '0'],
    ] as const) {
      mkdirSync(join(sys, 'class/block', name), { recursive: true });
      writeFileSync(join(sys, 'class/block', name, 'size'), `${size}\n`);
    }
    assert.deepEqual(await listBlockDevices({ sys, dev: '/dev' }), ['/dev/cciss/c0d0', '/dev/sda', '/dev/sda1']);
    assert.deepEqual(await listBlockDevices({ sys: join(sys, 'none'), dev: '/dev' }), []);
  } finally {
    rmSync(sys, { recursive: true });
  }
});
