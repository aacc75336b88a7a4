// Run by resets.sh: `verify` after a boot, `load` until the machine is reset under it.

import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { once } from 'node:events';
import { call, Ledger, pick, run, slots, startDaemon, verify } from './crash.ts';
import type { Disk, Vbd } from './crash.ts';

const [step = '', stateFolder = ''] = process.argv.slice(2);
const madeFile = `${stateFolder}/made`;
const daemon = await startDaemon();

async function attachKeep(): Promise<Ledger> {
  const there = (await call<Vbd[]>('GET', '/vbds')).some(({ target }) => target === '/dev/xvdk');
  if (!there) await call('POST', '/vbds', { source: 'vd:keep', target: '/dev/xvdk', domain: '0', mode: 'w' });
  return new Ledger('/dev/xvdk', `${stateFolder}/ledger`);
}

if (step === 'verify') {
  // Nobody synchronises this machine's clock: an operator says that it is right.
  run('xvd', ['check', '--accept-clock']);
  await verify();
  (await attachKeep()).verify();
  const made = existsSync(madeFile)
    ? readFileSync(madeFile, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
    : [];
  const known = new Set((await call<Disk[]>('GET', '/disks?which=all')).map(({ id }) => String(id)));
  for (const id of made) if (!known.has(id)) throw new Error(`disk ${id} was made, and is unknown now`);
  process.stdout.write(`  ${made.length} disks that were made are known\n`);
  await call('DELETE', '/vbds/0/xvdk');
  await verify();
} else {
  const ledger = await attachKeep();
  const made = openSync(madeFile, 'a');
  const writing = (): void => {
    for (let count = 0; count < 3; count += 1) ledger.write(pick(Array.from({ length: slots }, (_, slot) => slot)));
    setImmediate(writing);
  };
  writing();
  for (let round = 0; ; round += 1) {
    const target = pick(['xvda', 'xvdb', 'xvdc']);
    const { id } = await call<Disk>('POST', '/disks', { sizeBytes: 16 * 2 ** 20 });
    writeSync(made, `${id}\n`);
    fsyncSync(made);
    await call('POST', '/vbds', { source: `vd:${id}`, target: `/dev/${target}`, domain: '0', mode: 'w' });
    const device = openSync(`/dev/${target}`, 'r+');
    writeSync(device, Buffer.alloc(65_536, round), 0, 65_536, 0);
    closeSync(device);
    await call('DELETE', `/vbds/0/${target}`);
    await call('DELETE', `/disks/${id}`);
    // Not before something was made, attached, written and flushed.
    if (round === 0) writeFileSync('/dev/console', `lab: reset in ${Math.floor(Math.random() * 8000)} ms\n`);
  }
}
daemon.kill('SIGTERM');
await once(daemon, 'exit');
