// The table of the semantics through the product: every pair of an existing use and a new one, as reader and writer, at each expert
// level. What is expected stands in verdicts.ts, and what each use is in machine.ts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attachVbd } from '../../src/app/attach-vbd.ts';
import { createDisk } from '../../src/app/create-disk.ts';
import { formatDevice } from '../../src/app/format-device.ts';
import type { AttachInfo, Warnings } from '../../src/app/shapes.ts';
import type { System } from '../../src/app/system.ts';
import { vbds } from '../../src/app/vbds.ts';
import { XvdError } from '../../src/base/error.ts';
import { MIB } from '../../src/base/units.ts';
import type { ExpertLevel, VbdMode } from '../../src/core/types.ts';
import { openWorld } from '../sim/world.ts';
import type { World } from '../sim/world.ts';
import { devices, POOL, sources, usersOf } from './machine.ts';
import { levels, news, pairs } from './verdicts.ts';
import type { Row, Use } from './verdicts.ts';

const modes = ['r', 'w'] as const;
const experts = [0, 1, 2] as const;
/** Those that exist as VBDs; the kernel tells of the others. */
const attachedAs: ReadonlySet<Use> = new Set(['VD', 'partition', 'whole drive']);

async function machine(): Promise<World> {
  const world = await openWorld();
  for (const device of devices) world.host.addDevice(device);
  await formatDevice(world.system, { device: POOL, extentBytes: MIB });
  await createDisk(world.system, { sizeBytes: 2 * MIB });
  return world;
}

const attach = (system: System, use: Use, mode: VbdMode, expert: ExpertLevel, more: { target: string; domain: string; dryRun?: boolean }) =>
  attachVbd(system, { source: sources[use], mode, expert, ...more });

type Refusal = {
  readonly level: number;
  readonly conflicts: readonly { readonly user: string; readonly name: string; readonly mode: string; readonly sectors: number }[];
};

/** The attach, or how it was refused. */
async function outcome(work: Promise<AttachInfo & Warnings>): Promise<(AttachInfo & Warnings) | XvdError> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof XvdError) return error;
    throw error;
  }
}

async function tryRow({ existing, now, relation }: Row, old: VbdMode, mode: VbdMode, expert: ExpertLevel, dryRun: boolean): Promise<void> {
  const says = `${existing} (${old}), then ${now} (${mode}) at level ${expert}`;
  const { system, host } = await machine();
  if (attachedAs.has(existing)) await attach(system, existing, old, 2, { target: 'xvda', domain: 'web01' });
  host.setUsers(usersOf(existing, old, now));
  const before = await vbds(system);
  const found = await outcome(attach(system, now, mode, expert, { target: 'xvdb', domain: 'web02', dryRun }));
  // A swap is a writer, whatever it is asked for.
  const level = relation === '=' ? levels[mode][existing === 'swap' ? 'w' : old] : 0;
  if (relation === '!' || level > expert) {
    assert.ok(found instanceof XvdError, `${says}: allowed`);
    assert.equal(found.code, relation === '!' ? 'DEVICE_OVERLAPS_POOL' : 'SHARING_REFUSED', says);
    assert.equal(found.exit, 4, says);
    const details = found.details as Refusal;
    assert.equal(details.level, relation === '!' ? 2 : level, says);
    assert.ok(details.conflicts.length > 0 && details.conflicts.every(({ name, sectors }) => name !== '' && sectors > 0), says);
    assert.notEqual(found.fix, '', says);
    assert.deepEqual(await vbds(system), before, `${says}: nothing is attached`);
    return;
  }
  if (found instanceof XvdError) assert.fail(`${says}: ${found.message}`);
  assert.equal(found.sharing, level, says);
  assert.equal(found.warnings.length > 0, level > 0, `${says}: warns`);
  assert.equal(found.conflicts.length > 0, level > 0, `${says}: tells whom it meets`);
  assert.equal((await vbds(system)).length, before.length + (dryRun ? 0 : 1), says);
}

for (const existing of news) {
  test(`${existing}, then each new use, as reader and writer, at each level: the verdict of the semantics`, async () => {
    const rows = pairs.filter((row) => row.existing === existing);
    assert.equal(rows.length, news.length);
    for (const row of rows) for (const old of modes) for (const mode of modes) for (const expert of experts) await tryRow(row, old, mode, expert, false);
  });
}

test('a dry run has the same verdicts, and attaches nothing', async () => {
  for (const row of pairs) for (const mode of modes) await tryRow(row, 'w', mode, 1, true);
});

test('a refusal names every user, where it stands, and what would resolve it', async () => {
  const { system, host } = await machine();
  await attach(system, 'partition', 'w', 0, { target: 'xvda', domain: 'web01' });
  host.setUsers([...usersOf('swap', 'w', 'whole drive'), ...usersOf('open device', 'r', 'whole drive')]);
  const refused = await outcome(attach(system, 'whole drive', 'w', 0, { target: 'xvdb', domain: 'web02' }));
  assert.ok(refused instanceof XvdError);
  assert.deepEqual(
    (refused.details as Refusal).conflicts.map((conflict) => ({ ...conflict })),
    [
      { user: 'swap', name: '/dev/sdx2', mode: 'w', device: '/dev/sdx', startSector: 10_240, sectors: 8192 },
      { user: 'process', name: 'dd (pid 7)', mode: 'r', device: '/dev/sdx', startSector: 18_432, sectors: 8192 },
      { user: 'vbd', name: '/dev/xvda of domain web01 (phy:/dev/sdx1)', mode: 'w', device: '/dev/sdx', startSector: 2048, sectors: 8192 },
    ],
  );
  for (const way of ['`swapoff /dev/sdx2`', 'End dd (pid 7)', '`xvd detach /dev/xvda web01`', '--expert 2']) assert.ok(refused.fix.includes(way), refused.fix);
});
