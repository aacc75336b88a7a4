// What a process has mapped, from the kernel's text.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../../../test/until.ts';
import { deviceNumber } from '../../core/device-number.ts';
import { kernelThread, scanSettled, sharedMappings } from './processes.ts';

const line = (mode: string, rest: string): string => `7f1c2a000000-7f1c2a001000 ${mode} 00001000 ${rest}\n`;

test('shared mappings of files and nodes are found, writable or not, by device and inode', () => {
  const maps = [
    line('r-xp', '08:01 12                         /usr/bin/ls'),
    line('rw-s', '08:01 99                         /srv/a file of mine'),
    line('rw-p', '00:00 0 '),
    line('r--s', 'fd:1f 7 /dev/sdb'),
    line('---s', '00:01 1024 /dev/zero (deleted)'),
    line('rw-s', '00:00 0                          [anon_shmem:x]'),
    line('-w-s', '08:01 100 /write only'),
  ].join('');
  assert.deepEqual(
    sharedMappings(maps).map(({ writable, device, inode, path }) => `${writable ? 'w' : 'r'} ${device} ${inode} ${path}`),
    ['w 8:1 99 /srv/a file of mine', 'r 253:31 7 /dev/sdb', 'r 0:1 1024 /dev/zero (deleted)', 'w 8:1 100 /write only'],
  );
  assert.deepEqual(sharedMappings(''), []);
});

test('a name that looks like the fields of a mapping is a name', () => {
  const trap = '/srv/x rw-s 00000000 08:10 5 /dev/sdb';
  assert.deepEqual(sharedMappings(line('r--p', `08:01 12 ${trap}`)), []);
  assert.deepEqual(
    sharedMappings(line('r--s', `08:01 12 ${trap}`)).map(({ writable, path }) => [writable, path]),
    [[false, trap]],
  );
});

test('it finds what a look at each line by itself finds, here', () => {
  const maps = readFileSync('/proc/self/maps', 'utf8');
  const byLine = maps.split('\n').filter((each) => /^\S+ \S\S\Ss \S+ \S+ \d+ +\//.test(each));
  assert.equal(sharedMappings(maps).length, byLine.length);
});

for (const [name, counts] of [
  ['daemon-label-writer.cjs', false],
  ['label-writer.ts', false],
  ['editor.cjs', true],
] as const) {
  test(`${name} has a device open for a moment: it is ${counts ? 'told of at once' : 'waited for, as it is nobody’s use'}`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'xvd-scan-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const device = join(folder, 'device');
    writeFileSync(device, '');
    // Has it open until its input ends.
    writeFileSync(join(folder, name), `require('fs').openSync(${JSON.stringify(device)}, 'r'); console.log('open'); process.stdin.resume();`);
    const child = spawn(process.execPath, [join(folder, name)], { stdio: ['pipe', 'pipe', 'ignore'] });
    const ended = once(child, 'exit');
    await once(child.stdout, 'data');
    const { dev, ino } = statSync(device);
    // The first look is made before this returns.
    const scan = scanSettled({ runFolder: join(folder, 'run'), ownPid: process.pid, files: new Set([`${deviceNumber(dev)}:${ino}`]) });
    child.stdin.end();
    const seen = (await scan).opens.filter(({ pid }) => pid === child.pid).length;
    await ended;
    assert.equal(seen, counts ? 1 : 0);
  });
}

test('a kernel thread is known by its flags, whatever a process calls itself', () => {
  assert.deepEqual(kernelThread('2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 5 0 0 20 0 1 0 3 0 0 18446744073709551615'), { parent: 0 });
  assert.deepEqual(kernelThread('31 (kworker/0:1H-kblockd) I 2 0 0 0 -1 69238880 0 0 0 0 0 0 0 0 0 -20 1 0 60 0 0'), { parent: 2 });
  assert.equal(kernelThread('700 (dd) D 1 700 700 0 -1 4194308 82 0 0 0 0 3 0 0 20 0 1 0 900 0 0'), null);
  assert.equal(kernelThread('701 (x) S 0 0 0 0 -1 2129984) R 1 701 701 0 -1 4194304 82 0 0'), null);
  assert.equal(kernelThread(readFileSync('/proc/self/stat', 'utf8')), null);
  assert.equal(kernelThread(''), null);
});

test('the mounts of this process are told once, as those of its namespace', async () => {
  const { mounts, namespaces } = await scanSettled({ runFolder: '/nowhere', ownPid: process.pid, files: new Set() });
  assert.ok(mounts.some(({ mountPoint }) => mountPoint === '/'));
  assert.equal(namespaces.filter((each) => each === mounts).length, 1);
});

test('a process whose first thread has ended still has what its others have open', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-scan-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const device = join(folder, 'device');
  writeFileSync(device, '');
  const exit = process.arch === 'x64' ? 60 : 93;
  const script = `
    const call = require(${JSON.stringify(createRequire(import.meta.url).resolve('koffi'))}).load('libc.so.6').func('long syscall(long number, long status)');
    const fs = require('fs');
    fs.openSync(${JSON.stringify(device)}, 'r+');
    fs.writeSync(1, 'open');
    call(${exit}, 0);`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  await until('its first thread has ended', () => /^State:\tZ/m.test(readFileSync(`/proc/${child.pid}/status`, 'utf8')));
  const { dev, ino } = statSync(device);
  const { opens } = await scanSettled({ runFolder: join(folder, 'run'), ownPid: process.pid, files: new Set([`${deviceNumber(dev)}:${ino}`]) });
  // Each of its threads tells of the same.
  const seen = opens.filter(({ pid }) => pid === child.pid);
  assert.deepEqual([...new Set(seen.map(({ kind, writable }) => `${kind} ${writable}`))], ['file true']);
});
