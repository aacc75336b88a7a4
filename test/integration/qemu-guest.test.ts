// The built command with a real guest: it boots from a leased disk, takes another, outlives a daemon that was killed, loses what
// expired, and ends.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ensureGuest } from '../../demo/guest.ts';
import { until } from '../until.ts';
import { builtXvd } from './built-xvd.ts';
import { makeRootDisk, must } from './guest-disk.ts';
import type { Vbd } from './guest-disk.ts';

const guestMs = 120_000;

test('a guest boots from its disk, takes another, outlives a killed daemon, loses what expired, and leaves what it wrote', { timeout: 300_000 }, async (t) => {
  const xvd = builtXvd(t);
  const guest = await ensureGuest();
  const log = join(xvd.folder, 'console.log');
  const says = (pattern: RegExp): Promise<unknown> => until(`the guest says ${pattern}`, () => pattern.test(readFileSync(log, 'utf8')), guestMs);
  await xvd.format();
  const daemon = await xvd.serve();
  await makeRootDisk(xvd, guest.rootTree);
  await xvd.json('create', '8M', '--name', 'data', '--expires', '1h');
  const disks = [{ source: 'vd:web', target: '/dev/xvda', mode: 'w' }];
  const description = {
    name: 'web01',
    kernel: guest.kernel,
    ramdisk: guest.ramdisk,
    memory: '192M',
    root: '/dev/xvda ro',
    cmdline: 'quiet xvd.write=here-I-was',
    console: log,
    disks,
  };
  writeFileSync(join(xvd.folder, 'web01.json'), JSON.stringify(description));
  try {
    await xvd.json('domain', 'start', 'web01.json');
    await says(/guest: ready/);
    await xvd.refused(4, 'SHARING_REFUSED', 'attach', 'vd:web', 'xvdb', 'web01', 'w');
    await xvd.refused(6, 'DOMAIN_EXISTS', 'domain', 'start', 'web01.json');

    daemon.kill('SIGKILL');
    await once(daemon, 'exit');
    await xvd.serve();
    const domains = await xvd.json<{ name: string; state: string; vbds: Vbd[] }[]>('domain', 'list');
    assert.deepEqual(
      domains.filter(({ name }) => name === 'web01').map(({ state, vbds }) => [state, vbds.map(({ target }) => target)]),
      [['running', ['/dev/xvda']]],
    );

    await xvd.json('attach', 'vd:data', 'xvdb', 'web01', 'w');
    await says(/guest: add \/dev\/vdb 'vd-2'/);
    await xvd.json('detach', 'xvdb', 'web01');
    await says(/guest: remove \/dev\/vdb/);

    const { generation } = await xvd.json<Vbd>('attach', 'vd:data', 'xvdb', 'web01', 'w');
    await xvd.json('refresh', 'data', '--expires', '1s');
    await until('the expired disk is revoked', async () => !(await xvd.json<Vbd[]>('vbds')).some((vbd) => vbd.generation === generation));
    await says(/(guest: remove \/dev\/vdb[^]*){2}/);

    await xvd.json('domain', 'stop', 'web01');
    assert.deepEqual(await xvd.json('vbds'), []);
  } finally {
    await xvd.run('domain', 'stop', 'web01', '--force');
  }
  const { uri } = await xvd.json<Vbd>('attach', 'vd:web', 'xvda', 'filler', 'r', '--driver', 'nbd');
  const after = join(xvd.folder, 'after.img');
  await must('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', uri, after);
  assert.equal((await must('debugfs', '-R', 'cat /written-by-guest', after)).trim(), 'here-I-was');
  await xvd.json('detach', 'xvda', 'filler');
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});

test('a guest that powers itself off ends its VBDs', { timeout: 200_000 }, async (t) => {
  const xvd = builtXvd(t);
  const guest = await ensureGuest();
  await xvd.format();
  await xvd.serve();
  await makeRootDisk(xvd, guest.rootTree);
  const disks = [{ source: 'vd:web', target: '/dev/xvda', mode: 'w' }];
  const description = {
    name: 'web01',
    kernel: guest.kernel,
    ramdisk: guest.ramdisk,
    memory: '192M',
    root: '/dev/xvda ro',
    cmdline: 'quiet xvd.poweroff',
    disks,
  };
  writeFileSync(join(xvd.folder, 'web01.json'), JSON.stringify(description));
  try {
    await xvd.json('domain', 'start', 'web01.json');
    await until('its VBDs have ended', async () => (await xvd.json<Vbd[]>('vbds')).length === 0, guestMs);
    const domains = await xvd.json<{ name: string }[]>('domain', 'list');
    assert.ok(!domains.some(({ name }) => name === 'web01'));
  } finally {
    await xvd.run('domain', 'stop', 'web01', '--force');
  }
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});
