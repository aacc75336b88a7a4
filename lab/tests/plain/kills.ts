// Run by kills.sh: kill -9 of commands, and of the daemon, at random moments, and what must hold after each.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { call, Ledger, pick, slots, startDaemon, verify } from './crash.ts';
import type { Disk, Vbd } from './crash.ts';

const rounds = Number(process.env['KILLS'] ?? 8);
const [spare = ''] = process.argv.slice(2);
const targets = ['/dev/xvda', '/dev/xvdb', '/dev/xvdc'];

/** Of every kind in turn, on whatever is there. */
async function commandOf(round: number): Promise<readonly string[]> {
  const disks = await call<Disk[]>('GET', '/disks?which=all');
  const others = disks.filter(({ name }) => name !== 'keep');
  const vbds = (await call<Vbd[]>('GET', '/vbds')).filter(({ target }) => target !== '/dev/xvdk');
  const disk = others.length === 0 ? 'keep' : String(pick(others).id);
  const kinds: readonly (readonly string[])[] = [
    ['create', '24M', '--name', `n${round}`],
    ['attach', `vd:${disk}`, pick(targets), '0', 'w'],
    vbds.length === 0 ? ['vbds'] : ['detach', pick(vbds).target, '0', ...pick([[], ['--force']])],
    ['delete', disk, '--force'],
    ['format', spare, '--extent-size', '8M', '--force'],
    ['create', '16M', '--name', `m${round}`, '--expires', '1h'],
    ['refresh', disk],
    ['attach', `vd:${disk}`, pick(targets), '0', 'r'],
    ['restore', disk],
    ['unformat', spare],
    ['check', '--repair'],
    ['list', '--all'],
  ];
  return kinds[round % kinds.length] ?? ['list'];
}

let daemon = await startDaemon();
await call('POST', '/vbds', { source: 'vd:keep', target: '/dev/xvdk', domain: '0', mode: 'w' });
const ledger = new Ledger('/dev/xvdk', null);
/** How long a command takes here: kills are spread over that. */
let usualMs = 2_000;
for (let round = 0; round < rounds; round += 1) {
  for (let count = 0; count < 4; count += 1) ledger.write(pick(Array.from({ length: slots }, (_, slot) => slot)));
  const args = round === 0 ? ['create', '16M', '--name', 'first'] : await commandOf(round - 1);
  const alsoDaemon = round % 3 === 2;
  const afterMs = round === 0 ? 600_000 : Math.random() * usualMs;
  const started = performance.now();
  const command = spawn('xvd', args, { stdio: 'ignore' });
  const ended = once(command, 'exit');
  const timer = new AbortController();
  await Promise.race([ended, delay(afterMs, undefined, { signal: timer.signal }).catch(() => undefined)]);
  timer.abort();
  if (round === 0) usualMs = performance.now() - started;
  process.stdout.write(
    `round ${round}: xvd ${args.join(' ')} killed after ${Math.round(performance.now() - started)} ms${alsoDaemon ? ', and the daemon' : ''}\n`,
  );
  command.kill('SIGKILL');
  await ended;
  if (alsoDaemon) {
    daemon.kill('SIGKILL');
    await once(daemon, 'exit');
    daemon = await startDaemon();
  }
  await verify();
  ledger.verify();
}
daemon.kill('SIGTERM');
await once(daemon, 'exit');
