// Over a reboot of the host, and over the end of the daemon in the midst of a start: the built command and a real QEMU. The boot
// is made another one by giving what the catalog knows an earlier boot's name, and a new XVD_RUN, as a tmpfs is.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { bootSector } from '../../src/hypervisor/qemu/fixture-boot-sector.ts';
import { until } from '../until.ts';
import { builtXvd } from './built-xvd.ts';
import type { BuiltXvd } from './built-xvd.ts';

type Vbd = {
  readonly domain: string;
  readonly target: string;
  readonly source: string;
  readonly mode: string;
  readonly state: string;
  readonly generation: number;
};
type Domain = { readonly name: string; readonly id: string };

const description = { name: 'web01', firmware: 'bios', memory: '64M', disks: [{ source: 'vd:boot', target: '/dev/xvda', mode: 'w' }] };

async function makeWeb(xvd: BuiltXvd): Promise<void> {
  writeFileSync(join(xvd.folder, 'boot.raw'), bootSector('here'));
  await xvd.json('create', '1M', '--name', 'boot');
  await xvd.json('import', 'boot.raw', 'boot');
  writeFileSync(join(xvd.folder, 'web01.json'), JSON.stringify(description));
}

const shown = async (xvd: BuiltXvd): Promise<string[]> =>
  (await xvd.json<Vbd[]>('vbds')).map(({ source, domain, target, mode, state }) => `${source} ${domain}${target} ${mode} ${state}`);
const runs = async (xvd: BuiltXvd): Promise<boolean> => (await xvd.json<Domain[]>('domain', 'list')).some(({ name }) => name === 'web01');

/** What runs is ended first, as the host would have. */
function anotherBoot(xvd: BuiltXvd): void {
  const database = new DatabaseSync(join(xvd.environment['XVD_STATE'] ?? '', 'catalog.sqlite'));
  for (const table of ['vbd', 'intent', 'worker']) database.exec(`UPDATE ${table} SET boot_id = 'an-earlier-boot'`);
  database.close();
  (xvd.environment as Record<string, string>)['XVD_RUN'] = join(xvd.folder, 'run2');
}

function program(xvd: BuiltXvd, name: string, script: string): void {
  const folder = join(xvd.folder, 'programs');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  const path = xvd.environment['PATH'] ?? '';
  if (!path.startsWith(folder)) (xvd.environment as Record<string, string>)['PATH'] = `${folder}:${path}`;
}

test('after a reboot what was attached with --persist and domains with autostart are back, and the service manager is told when', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  const daemon = await xvd.serve();
  await makeWeb(xvd);
  for (const name of ['data', 'plain']) await xvd.json('create', '1M', '--name', name);
  await xvd.json('attach', 'vd:data', 'xvda', 'backup', 'w', '--driver', 'nbd', '--persist');
  await xvd.json('attach', 'vd:plain', 'xvdb', 'backup', '--driver', 'nbd');
  const [first] = await xvd.json<Vbd[]>('vbds');
  assert.deepEqual(await xvd.json('domain', 'autostart', 'web01.json'), { name: 'web01', autostart: true, changed: true });
  assert.deepEqual(await xvd.json('domain', 'autostart', 'web01.json'), { name: 'web01', autostart: true, changed: false });
  await xvd.refused(2, 'VALUE_INVALID', 'domain', 'autostart', 'boot.raw');
  daemon.kill('SIGKILL');
  await once(daemon, 'exit');
  await xvd.serve();
  assert.equal(await runs(xvd), false, 'not in this boot');
  assert.deepEqual(await shown(xvd), ['vd:2 backup/dev/xvda w attached', 'vd:3 backup/dev/xvdb r attached']);
  await xvd.stopDaemon();

  anotherBoot(xvd);
  program(xvd, 'systemd-notify', `echo "$@" >>${join(xvd.folder, 'told')}`);
  (xvd.environment as Record<string, string>)['NOTIFY_SOCKET'] = '/run/systemd/notify';
  const next = await xvd.serve();
  assert.equal(readFileSync(join(xvd.folder, 'told'), 'utf8'), `--ready --pid=${next.pid}\n`);
  assert.equal((await shown(xvd))[0], 'vd:2 backup/dev/xvda w attached');
  await until('the domain runs', async () => (await shown(xvd))[1]?.endsWith('attached') === true);
  assert.deepEqual(await shown(xvd), ['vd:2 backup/dev/xvda w attached', 'vd:1 web01/dev/xvda w attached']);
  assert.ok(((await xvd.json<Vbd[]>('vbds'))[0]?.generation ?? 0) > (first?.generation ?? 0), 'a generation is never used again');
  await xvd.json('domain', 'stop', 'web01', '--force');
  assert.deepEqual(await xvd.json('domain', 'autostart', 'web01', '--off'), { name: 'web01', autostart: false, changed: true });
  await xvd.json('detach', 'xvda', 'backup');
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});

test('what cannot come back is said by an event and by check, with what to do', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  await xvd.serve();
  await makeWeb(xvd);
  await xvd.json('create', '1M', '--name', 'data', '--expires', '1h');
  await xvd.json('attach', 'vd:data', 'xvda', 'backup', 'w', '--driver', 'nbd', '--persist');
  await xvd.json('domain', 'autostart', 'web01.json');
  await xvd.stopDaemon();
  anotherBoot(xvd);
  await xvd.json('delete', 'boot');
  await xvd.json('refresh', 'data', '--expires', '1s');
  await until('its lease is over', async () => (await xvd.json('show', 'data'))['state'] === 'expired');
  await xvd.serve();
  await until('the domain was tried', async () => (await xvd.json<{ type: string }[]>('events')).some(({ type }) => type === 'domain.not-started'));
  const { status, out } = await xvd.run('check', '--json');
  const { problems } = JSON.parse(out) as { problems: { code: string; message: string }[] };
  assert.equal(status, 9);
  assert.deepEqual(
    problems.map(({ code }) => code),
    ['VBD_NOT_ATTACHED', 'DOMAIN_NOT_STARTED'],
  );
  assert.match(problems[0]?.message ?? '', /vd:2 .* domain backup .*lease of vd:2 is over.*xvd detach \/dev\/xvda backup/);
  await xvd.json('detach', 'xvda', 'backup');
  await xvd.json('restore', 'boot');
  await xvd.json('domain', 'start', 'web01.json');
  assert.deepEqual(await xvd.json('check'), { problems: [] });
  await xvd.json('domain', 'stop', 'web01', '--force');
});

test('the daemon killed while QEMU starts: the next one leaves neither domain nor VBD, and the domain can be started', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  const mark = join(xvd.folder, 'starting');
  const hold = join(xvd.folder, 'hold');
  const real = '/usr/bin/qemu-system-x86_64';
  program(
    xvd,
    'qemu-system-x86_64',
    `case "$*" in *guest=web01*) touch ${mark}; while [ -e ${hold} ]; do sleep 0.1; done;; esac\n${real} "$@"; echo $? >>${mark}`,
  );
  writeFileSync(hold, '');
  const daemon = await xvd.serve();
  await makeWeb(xvd);
  const start = xvd.run('domain', 'start', 'web01.json', '--json');
  await until('QEMU is being started', () => existsSync(mark));
  assert.deepEqual(await shown(xvd), ['vd:1 web01/dev/xvda w attaching']);
  daemon.kill('SIGKILL');
  await once(daemon, 'exit');
  assert.equal((await start).status, 8);
  await xvd.serve();
  assert.deepEqual([await shown(xvd), await runs(xvd)], [[], false]);
  rmSync(hold);
  await until('what was started late has failed', () => readFileSync(mark, 'utf8') !== '');
  assert.notEqual(readFileSync(mark, 'utf8'), '0\n', 'its disk is not served any more');
  assert.ok((await xvd.json<{ type: string }[]>('events')).some(({ type }) => type === 'domain.undone'));
  await xvd.json('domain', 'start', 'web01.json');
  assert.deepEqual(await shown(xvd), ['vd:1 web01/dev/xvda w attached']);
  await xvd.json('domain', 'stop', 'web01', '--force');
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});

test('a QEMU that fails at its start leaves nothing', async (t) => {
  const xvd = builtXvd(t);
  await xvd.format();
  await xvd.serve();
  await makeWeb(xvd);
  await xvd.stopDaemon();
  program(xvd, 'qemu-system-x86_64', 'exit 3');
  await xvd.serve();
  await xvd.refused(7, 'HYPERVISOR_FAILED', 'domain', 'start', 'web01.json');
  assert.deepEqual([await shown(xvd), await runs(xvd)], [[], false]);
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});
