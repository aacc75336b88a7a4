// The built command with a real guest that reads and writes all the while: a disk that comes and goes while it runs, the daemon and
// a connection process killed under its fio, a disk that is pulled away, and a lease that ends under its writes.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ensureGuest } from '../../demo/guest.ts';
import { Console } from '../../src/hypervisor/qemu/fixture.ts';
import { bootSector } from '../../src/hypervisor/qemu/fixture-boot-sector.ts';
import { until } from '../until.ts';
import { builtXvd } from './built-xvd.ts';
import type { BuiltXvd } from './built-xvd.ts';
import { contentOf, countersIn, makeRootDisk, must, processesOf, treeWithFio } from './guest-disk.ts';
import type { Vbd } from './guest-disk.ts';

/** The promise is that a guest sees a disk within that. */
const seenMs = 10_000;
const MARK = 'XVD-FIRST-GUEST\n';

/** Writes that its connection processes have counted. */
const writesOf = (xvd: BuiltXvd, generation: number): number => countersIn(xvd, generation).writes;
/** A guest's shell, at its console. */
class Shell implements Disposable {
  readonly #console: Console;
  #lines = 0;
  constructor(path: string) {
    this.#console = new Console(path);
  }
  /** Starts a line, and gives what waits for its exit status. (What was typed comes back as well, so the word is made in the guest.) */
  type(line: string): () => Promise<number> {
    this.#lines += 1;
    const word = `line${this.#lines}`;
    this.#console.type(`${line}; echo "${word}"-ended-"$?"`);
    return async () => Number(/-(\d+)$/.exec(await this.#console.says(new RegExp(`${word}-ended-\\d+`)))?.[1]);
  }
  run(line: string): Promise<number> {
    return this.type(line)();
  }
  says(pattern: RegExp): Promise<string> {
    return this.#console.says(pattern);
  }
  [Symbol.dispose](): void {
    this.#console[Symbol.dispose]();
  }
}

const fio = (more: string): string =>
  `cd /run; fio --name=v --filename=/dev/vdb --direct=1 --ioengine=psync --thread --verify=crc32c --verify_fatal=1 --verify_state_save=0 ${more} >/run/fio.log 2>&1`;

test('a guest writes and verifies while its disk comes and goes, the daemon and a connection are killed, and a lease ends', { timeout: 500_000 }, async (t) => {
  const xvd = builtXvd(t, 260 * 2 ** 20);
  const guest = await ensureGuest();
  await xvd.json('format', xvd.pool, '--extent-size', '4M');
  let daemon = await xvd.serve();
  await makeRootDisk(xvd, treeWithFio(xvd, guest.rootTree), '160M');
  await xvd.json('create', '16M', '--name', 'data', '--expires', '1h');
  const disks = [{ source: 'vd:web', target: '/dev/xvda', mode: 'w' }];
  const description = { name: 'web01', kernel: guest.kernel, ramdisk: guest.ramdisk, memory: '256M', root: '/dev/xvda ro', cmdline: 'quiet', disks };
  writeFileSync(join(xvd.folder, 'web01.json'), JSON.stringify(description));
  try {
    await xvd.json('domain', 'start', 'web01.json');
    using shell = new Shell(((await xvd.ask('GET', '/api/v1/domains/web01/console')).body as { path: string }).path);
    await shell.says(/guest: ready/);

    await t.test('hot-plug is seen within 10 s, and its I/O is verified', async () => {
      await xvd.json('attach', 'vd:data', 'xvdb', 'web01', 'w');
      const plugged = performance.now();
      await shell.says(/guest: add \/dev\/vdb 'vd-2'/);
      assert.ok(performance.now() - plugged < seenMs);
      t.diagnostic(`seen ${Math.round(performance.now() - plugged)} ms after the attach`);
      assert.equal(await shell.run(fio('--rw=randwrite --bs=16k --size=8m')), 0);
      assert.equal(await shell.run(`yes ${MARK.trim()} | dd of=/dev/vdb bs=64k count=32 iflag=fullblock conv=fsync 2>/dev/null`), 0);
    });

    await t.test('a co-operative unplug takes it away, and what was written is there', async () => {
      await xvd.json('detach', 'xvdb', 'web01');
      await shell.says(/guest: remove \/dev\/vdb/);
      const content = await contentOf(xvd, 'vd:data');
      assert.equal(content.length, 16 * 2 ** 20);
      assert.equal(content.subarray(0, 2 ** 21).toString(), MARK.repeat(2 ** 21 / MARK.length));
    });

    await t.test('the daemon is killed and started again, then a connection process is killed, under a fio that verifies: no error', async () => {
      const { generation } = await xvd.json<Vbd>('attach', 'vd:data', 'xvdb', 'web01', 'w');
      assert.equal(await shell.run('while [ ! -b /dev/vdb ]; do sleep 0.1; done'), 0);
      const ended = shell.type(fio('--rw=randwrite --bs=4k --size=4m --verify_backlog=64 --time_based --runtime=8'));
      await until('fio writes', () => writesOf(xvd, generation) > 0, 60_000);
      daemon.kill('SIGKILL');
      await once(daemon, 'exit');
      daemon = await xvd.serve();
      const [connection] = processesOf(xvd, generation);
      assert.ok(connection !== undefined);
      process.kill(connection, 'SIGKILL');
      await until('another process serves it', () => processesOf(xvd, generation).some((pid) => pid !== connection));
      assert.equal(await ended(), 0);
      assert.equal(await shell.run('grep -q "err= 0" /run/fio.log'), 0);
    });

    await t.test(
      'its lease ends under its writes: they fail, the guest goes on (QEMU pauses it on “no space”), and not one byte of them is in the next disk',
      async () => {
        const writes = shell.type(
          `while [ -b /dev/vdb ] && yes ${MARK.trim()} | dd of=/dev/vdb bs=256k count=64 iflag=fullblock conv=fsync,notrunc 2>/dev/null; do :; done; while [ -b /dev/vdb ]; do sleep 0.1; done`,
        );
        await xvd.json('refresh', 'data', '--expires', '2s');
        await until('it is revoked', async () => (await xvd.json<Vbd[]>('vbds')).every(({ target }) => target !== '/dev/xvdb'), 60_000);
        assert.equal(await writes(), 0, 'the disk is gone from the guest');
        const domains = await xvd.json<{ name: string; state: string }[]>('domain', 'list');
        assert.equal(domains.find(({ name }) => name === 'web01')?.state, 'running');
        const [pool] = await xvd.json<{ freeBytes: number }[]>('devices');
        await xvd.json('create', `${(pool?.freeBytes ?? 0) / 2 ** 20}M`, '--name', 'next', '--expires', '1h');
        await xvd.refused(6, 'DISK_RECLAIMED', 'restore', '2');
        assert.ok((await contentOf(xvd, 'vd:next')).every((byte) => byte === 0));
      },
    );
    await xvd.json('domain', 'stop', 'web01', '--force');
  } finally {
    await xvd.run('domain', 'stop', 'web01', '--force');
  }
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});

test('a guest that does not let go keeps its disk; by force it is pulled away and can be had by another', { timeout: 200_000 }, async (t) => {
  const xvd = builtXvd(t, 64 * 2 ** 20);
  await xvd.json('format', xvd.pool, '--extent-size', '4M');
  await xvd.serve();
  await xvd.json('create', '4M', '--name', 'boot');
  await xvd.json('create', '4M', '--name', 'data');
  const { uri } = await xvd.json<Vbd>('attach', 'vd:boot', 'xvda', 'filler', 'w', '--driver', 'nbd');
  const image = join(xvd.folder, 'boot.img');
  writeFileSync(image, Buffer.concat([bootSector('stands-still'), Buffer.alloc(4 * 2 ** 20 - 512)]));
  await must('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', image, uri);
  await xvd.json('detach', 'xvda', 'filler');
  const disks = [
    { source: 'vd:boot', target: '/dev/xvda', mode: 'w' },
    { source: 'vd:data', target: '/dev/xvdb', mode: 'w' },
  ];
  writeFileSync(join(xvd.folder, 'web02.json'), JSON.stringify({ name: 'web02', firmware: 'bios', memory: '64M', disks }));
  try {
    await xvd.json('domain', 'start', 'web02.json');
    await xvd.refused(6, 'VBD_BUSY', 'detach', 'xvdb', 'web02');
    assert.deepEqual(
      (await xvd.json<Vbd[]>('vbds', 'web02')).map(({ target, state }) => [target, state]),
      [
        ['/dev/xvda', 'attached'],
        ['/dev/xvdb', 'attached'],
      ],
    );
    assert.equal((await xvd.json<Vbd>('detach', 'xvdb', 'web02', '--force')).state, 'detached');
    assert.ok((await contentOf(xvd, 'vd:data')).every((byte) => byte === 0));
  } finally {
    await xvd.run('domain', 'stop', 'web02', '--force');
  }
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});
