// Whoever fills a small cgroup with dirty pages of a disk waits until they are written, which the data path does from outside: it
// must go on, and must not be what is ended when memory runs out there.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { MIB } from '../../src/base/units.ts';
import { builtXvd } from '../integration/built-xvd.ts';
import { until } from '../until.ts';

const run = promisify(execFile);
const TARGET = '/dev/xvdm9';
const FLOOD = 48 * MIB;

/** A group of processes with that much memory, by the first or the second kind of control groups; `refused` = how often it was too little. */
function smallGroup(t: TestContext, limit: number): { readonly processes: string; refused(): number } {
  const first = '/sys/fs/cgroup/memory';
  const root = existsSync(first) ? first : '/sys/fs/cgroup';
  if (root !== first) writeFileSync(join(root, 'cgroup.subtree_control'), '+memory');
  const group = join(root, `xvd-test-${process.pid}`);
  mkdirSync(group);
  t.after(() => until('the group is empty', () => readFileSync(join(group, 'cgroup.procs'), 'latin1') === '').then(() => rmdirSync(group)));
  writeFileSync(join(group, root === first ? 'memory.limit_in_bytes' : 'memory.max'), String(limit));
  return {
    processes: join(group, 'cgroup.procs'),
    refused: () =>
      root === first
        ? Number(readFileSync(join(group, 'memory.failcnt'), 'latin1'))
        : Number(/^max (\d+)/m.exec(readFileSync(join(group, 'memory.events'), 'latin1'))?.[1] ?? 0),
  };
}

test('a flood of dirty pages in a small cgroup is written, and who wants too much there is ended, not the data path', async (t) => {
  const xvd = builtXvd(t, 100 * MIB);
  await xvd.format();
  await xvd.json('create', '64M');
  await xvd.serve();
  const { generation } = await xvd.json<{ generation: number }>('attach', 'vd:1', TARGET, '0', 'w', '--driver', 'nbd');
  const processes = (): string[] => readdirSync(join(xvd.folder, 'run/vbd', String(generation), 'processes'));
  const before = processes();
  const group = smallGroup(t, 16 * MIB);
  const inGroup = (command: string): Promise<unknown> => run('sh', ['-c', `echo $$ > ${group.processes}; exec ${command}`], { timeout: 120_000 });
  const data = join(xvd.folder, 'data');
  writeFileSync(data, randomBytes(FLOOD));
  await inGroup(`dd if=${data} of=${TARGET} bs=1M conv=fsync,notrunc status=none`);
  assert.ok(group.refused() > 0, 'there was room enough');
  await run('blockdev', ['--flushbufs', TARGET]);
  await run('cmp', ['-n', String(FLOOD), data, TARGET]);
  await assert.rejects(inGroup('tail /dev/zero'), { signal: 'SIGKILL' });
  await inGroup(`dd if=${data} of=${TARGET} bs=1M count=8 seek=50 conv=fsync,notrunc status=none`);
  assert.deepEqual(processes(), before);
  await xvd.json('detach', TARGET, '0');
  assert.deepEqual(await xvd.json('check'), { problems: [] });
});
