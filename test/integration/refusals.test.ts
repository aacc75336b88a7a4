// What can't be done between disks and domains, through the built command: each has its own clear error, and changes nothing.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { bootSector } from '../../src/hypervisor/qemu/fixture-boot-sector.ts';
import { until } from '../until.ts';
import { builtXvd } from './built-xvd.ts';
import type { BuiltXvd } from './built-xvd.ts';

type Domain = { readonly name: string; readonly id: string; readonly state: string };
type Vbd = { readonly target: string; readonly generation: number; readonly devicePath: string };

const target = `/dev/xvdp${1 + (process.pid % 200)}`;
const description = { name: 'web01', firmware: 'bios', memory: '64M', disks: [{ source: 'vd:boot', target: '/dev/xvda', mode: 'w' }] };

/** A domain that runs: a boot sector that halts. */
async function startWeb(xvd: BuiltXvd): Promise<number> {
  writeFileSync(join(xvd.folder, 'boot.raw'), bootSector('here'));
  await xvd.json('create', '1M', '--name', 'boot');
  await xvd.json('import', 'boot.raw', 'boot');
  writeFileSync(join(xvd.folder, 'web01.json'), JSON.stringify(description));
  return Number((await xvd.json<Domain>('domain', 'start', 'web01.json')).id);
}

async function run(program: string, ...words: readonly string[]): Promise<void> {
  const child = spawn(program, words, { stdio: 'ignore', env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` } });
  assert.deepEqual(await once(child, 'close'), [0, null], `${program} ${words.join(' ')}`);
}

test('attach and detach: no disk, an expired one, a target in use, no such domain, no such VBD', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  await xvd.serve();
  for (const name of ['a', 'b', 'old']) await xvd.json('create', '1M', '--name', name);
  await xvd.json('delete', 'old');
  const nbd = ['--driver', 'nbd'];
  await xvd.refused(3, 'DISK_NOT_FOUND', 'attach', 'vd:none', 'xvda', 'app', ...nbd);
  await xvd.refused(3, 'DEVICE_NOT_FOUND', 'attach', 'phy:no-such-device', 'xvda', 'app', ...nbd);
  assert.match(String((await xvd.refused(6, 'DISK_EXPIRED', 'attach', 'vd:old', 'xvda', 'app', ...nbd))['fix']), /restore/);
  assert.match(String((await xvd.refused(3, 'DOMAIN_NOT_FOUND', 'attach', 'vd:a', 'xvda', 'nobody'))['message']), /'nobody'/);
  await xvd.refused(2, 'VALUE_INVALID', 'attach', 'vd:a', 'hde', 'app', ...nbd);
  await xvd.json('attach', 'vd:a', 'xvda', 'app', ...nbd);
  assert.match(
    String((await xvd.refused(6, 'TARGET_TAKEN', 'attach', 'vd:b', 'xvda', 'app', ...nbd))['message']),
    /\/dev\/xvda of domain app is attached to vd:1/,
  );
  await xvd.refused(6, 'TARGET_TAKEN', 'attach', 'vd:a', 'xvda', 'app', 'w', ...nbd);
  assert.match(String((await xvd.refused(3, 'VBD_NOT_FOUND', 'detach', 'xvdb', 'app'))['message']), /domain app has no \/dev\/xvdb/);
  await xvd.refused(3, 'VBD_NOT_FOUND', 'detach', 'xvda', 'nobody');
  await xvd.refused(6, 'DISK_BUSY', 'delete', 'a');
  assert.equal((await xvd.json<Vbd[]>('vbds')).length, 1);
});

test('detach of what is mounted is refused and says where', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  await xvd.serve();
  await xvd.json('create', '8M', '--name', 'data');
  const { devicePath } = await xvd.json<Vbd>('attach', 'vd:data', target, '0', 'w');
  const folder = mkdtempSync(join(tmpdir(), 'xvd-mount-'));
  await run('mke2fs', '-q', devicePath);
  await run('mount', devicePath, folder);
  try {
    const refused = await xvd.refused(6, 'VBD_BUSY', 'detach', target, '0');
    assert.ok(String(refused['message']).includes(folder), String(refused['message']));
    assert.deepEqual(
      (await xvd.json<{ state: string }[]>('vbds')).map(({ state }) => state),
      ['attached'],
    );
    await xvd.refused(6, 'DISK_BUSY', 'delete', 'data');
  } finally {
    await run('umount', folder);
    rmSync(folder, { recursive: true });
  }
  await xvd.json('detach', target, '0');
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});

test('a domain that ended: nothing is attached to it any more, and nothing can be', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  await xvd.serve();
  const pid = await startWeb(xvd);
  await xvd.json('create', '1M', '--name', 'data');
  await xvd.json('attach', 'vd:data', 'xvdb', 'web01', 'w');
  process.kill(pid, 'SIGKILL');
  await until('its VBDs have ended', async () => (await xvd.json<Vbd[]>('vbds')).length === 0);
  await xvd.refused(3, 'DOMAIN_NOT_FOUND', 'attach', 'vd:data', 'xvdb', 'web01');
  await xvd.refused(3, 'VBD_NOT_FOUND', 'detach', 'xvdb', 'web01');
  await xvd.refused(3, 'DOMAIN_NOT_FOUND', 'domain', 'stop', 'web01');
  await xvd.refused(3, 'DOMAIN_NOT_FOUND', 'domain', 'console', 'web01');
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});

test('a guest whose QMP socket does not answer: its attach fails and leaves nothing, others go on, also over a restart of the daemon', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  const daemon = await xvd.serve();
  const pid = await startWeb(xvd);
  for (const name of ['data', 'other']) await xvd.json('create', '1M', '--name', name);
  process.kill(pid, 'SIGSTOP');
  try {
    daemon.kill('SIGKILL');
    await once(daemon, 'exit');
    await xvd.serve();
    await xvd.json('attach', 'vd:other', 'xvda', 'app', 'w', '--driver', 'nbd');
    const refused = await xvd.refused(7, 'HYPERVISOR_FAILED', 'attach', 'vd:data', 'xvdb', 'web01', 'w');
    assert.match(String(refused['message']), /qmp\.sock/);
    assert.deepEqual(
      (await xvd.json<{ domain: string; target: string; state: string }[]>('vbds')).map(({ domain, target: at, state }) => `${domain}${at} ${state}`),
      ['web01/dev/xvda attached', 'app/dev/xvda attached'],
    );
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await until('the guest answers again', async () => (await xvd.run('attach', 'vd:data', 'xvdb', 'web01', 'w')).status === 0, 30_000);
  await xvd.json('domain', 'stop', 'web01', '--force');
  await xvd.json('detach', 'xvda', 'app');
  assert.deepEqual(await xvd.json('vbds'), []);
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});

test('a description with a wrong type, an unknown key, or an error of its language names it; a start that fails leaves nothing', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  await xvd.serve();
  const refuses = async (name: string, text: string, code: string, status: number, message: RegExp): Promise<void> => {
    writeFileSync(join(xvd.folder, name), text);
    assert.match(String((await xvd.refused(status, code, 'domain', 'start', name))['message']), message);
  };
  const json = (over: object): string => JSON.stringify({ ...description, ...over });
  await refuses('a.json', json({ vcpus: 'two' }), 'VALUE_INVALID', 2, /^vcpus: .*"two"/);
  await refuses('a.json', json({ memroy: '1G' }), 'VALUE_INVALID', 2, /^memroy: unknown key/);
  await refuses('a.json', '{"name": ', 'VALUE_INVALID', 2, /a\.json/);
  await refuses('a.toml', 'name = "web01"\nmemory = 512\nfirmware = "bios"\ndisks = []\n', 'VALUE_INVALID', 2, /^memory: /);
  await refuses('a.toml', 'name = \n', 'VALUE_INVALID', 2, /a\.toml/);
  const typescript = (text: string): string => `import { defineDomain } from 'xvd';\nexport const domain = defineDomain(${text});\n`;
  await refuses(
    'a.ts',
    typescript(json({ disks: [{ source: 'vd:1', target: 'xvda', mode: 'w', size: 1 }] })),
    'VALUE_INVALID',
    2,
    /^disks\[0\]\.size: unknown key/,
  );
  await refuses('b.ts', 'export const domain = {', 'VALUE_INVALID', 2, /b\.ts/);
  await refuses('a.yaml', 'name: web01', 'VALUE_INVALID', 2, /a\.yaml/);
  await xvd.refused(3, 'FILE_NOT_FOUND', 'domain', 'start', 'none.json');
  await refuses('a.json', json({}), 'DISK_NOT_FOUND', 3, /boot/);
  await xvd.json('create', '1M', '--name', 'boot', '--expires', '30s');
  await refuses('a.json', json({ firmware: '/no/firmware' }), 'FILE_NOT_FOUND', 3, /\/no\/firmware/);
  await refuses('a.json', JSON.stringify({ ...description, firmware: undefined, kernel: '/no/kernel' }), 'HYPERVISOR_FAILED', 7, /\/no\/kernel/);
  await refuses('a.json', json({ disks: [...description.disks, { source: 'vd:boot', target: 'xvdb', mode: 'w' }] }), 'SHARING_REFUSED', 4, /level 2/);
  assert.deepEqual([await xvd.json('vbds'), (await xvd.json<Domain[]>('domain', 'list')).map(({ name }) => name)], [[], ['0']]);
  writeFileSync(join(xvd.folder, 'a.ts'), typescript(json({})));
  const started = await xvd.json<Domain & { warnings: string[] }>('domain', 'start', 'a.ts');
  assert.deepEqual([started.name, started.state], ['web01', 'running']);
  assert.match(started.warnings.join(), /vd:1 ends within the minute/);
  await xvd.refused(6, 'DOMAIN_EXISTS', 'domain', 'start', 'a.ts');
  await xvd.json('domain', 'stop', 'web01', '--force');
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});
