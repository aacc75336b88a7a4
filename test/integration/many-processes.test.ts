// Many commands at once: two creates never take the same extents, and check and attach have no gap between them (F6).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { builtXvd } from './built-xvd.ts';
import type { BuiltXvd, Ran } from './built-xvd.ts';

const WORKERS = 8;
const LOAD_MS = 10_000;
/** What may stand in the way of one command while seven others run: no space, busy, gone meanwhile, unsafe. */
const expected = new Set([0, 3, 4, 5, 6]);

test('F6: 8 processes that create, delete and attach at once for 10 seconds leave a catalog that checks clean', async (t) => {
  const xvd = builtXvd(t, 256 * 2 ** 20);
  await xvd.json('format', xvd.pool, '--extent-size', '1M');
  await xvd.serve();
  const until = performance.now() + LOAD_MS;
  const counts = await Promise.all(Array.from({ length: WORKERS }, (_, worker) => load(xvd, worker, until)));
  assert.ok(
    counts.every((count) => count > 0),
    `commands done: ${counts.join(' ')}`,
  );
  await everyExtentHasOneOwner(xvd);
  assert.deepEqual(await xvd.json('check'), { problems: [] });
  for (const { domain, target } of await xvd.json<{ domain: string; target: string }[]>('vbds')) await xvd.json('detach', target, domain, '--force');
  await xvd.stopDaemon();
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});

async function load(xvd: BuiltXvd, worker: number, until: number): Promise<number> {
  const domain = `load${worker}`;
  let done = 0;
  const step = async (...words: readonly string[]): Promise<Ran> => {
    const ran = await xvd.run(...words, '--json');
    assert.ok(ran.status !== null && expected.has(ran.status), `xvd ${words.join(' ')}: ${ran.status} ${ran.out}${ran.err}`);
    if (ran.status === 0) done += 1;
    return ran;
  };
  for (let round = worker; performance.now() < until; round += 1) {
    const made = await step('create', `${1 + (round % 40)}M`, ...(round % 3 === 0 ? ['--no-wipe'] : []));
    if (made.status !== 0) continue;
    const { uname } = JSON.parse(made.out) as { uname: string };
    // Each also reaches for the first disks, so that attaches of one disk meet.
    await step('attach', round % 2 === 0 ? uname : 'vd:1', 'xvda', domain, 'w', '--driver', 'nbd');
    if (round % 4 !== 0) await step('detach', 'xvda', domain);
    await step('delete', uname, ...(round % 2 === 0 ? ['--force'] : []));
  }
  return done;
}

async function everyExtentHasOneOwner(xvd: BuiltXvd): Promise<void> {
  const runs: { start: number; end: number; disk: string }[] = [];
  for (const { uname } of await xvd.json<{ uname: string }[]>('list')) {
    for (const { startSector, sectors } of await xvd.json<{ startSector: number; sectors: number }[]>('extents', uname))
      runs.push({ start: startSector, end: startSector + sectors, disk: uname });
  }
  runs.sort((a, b) => a.start - b.start);
  for (const [index, run] of runs.entries())
    assert.ok(index === 0 || (runs[index - 1]?.end ?? 0) <= run.start, `${runs[index - 1]?.disk} and ${run.disk} overlap`);
}
