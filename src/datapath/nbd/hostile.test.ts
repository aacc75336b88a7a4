// Clients that want to harm: many, silent, slow, or never listening. Whatever they do, the others are served.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../../../test/until.ts';
import { limits } from '../../base/limits.ts';
import { bytes, MIB } from '../../base/units.ts';
import type { VbdPlan } from '../../core/types.ts';
import { connectGuest, connectRaw, optionBytes } from './fixture-client.ts';
import { openTestVbd } from './fixture-vbd.ts';
import type { TestVbd } from './fixture-vbd.ts';
import { OPT } from './wire/constants.ts';
import { livingProcesses } from './process-records.ts';
import { vbdFolder } from './vbd-folder.ts';

const planIn = (folder: string): VbdPlan => {
  const path = join(folder, 'device');
  writeFileSync(path, Buffer.alloc(MIB, 7));
  return {
    generation: 6,
    exportName: 'web01/xvda@6',
    mode: 'w',
    sizeBytes: bytes(MIB),
    blockBytes: 512,
    cache: 'writeback',
    devices: [{ path, kind: 'file', identity: { kind: 'path', path }, sizeBytes: bytes(MIB) }],
    segments: [{ deviceIndex: 0, offsetBytes: bytes(0), lengthBytes: bytes(MIB) }],
  };
};
const connections = (vbd: TestVbd): number => livingProcesses(vbdFolder(vbd.folder, vbd.plan.generation)).length;

test('clients that never say what they want, or say it too slowly, lose their places; who is served goes on meanwhile', async () => {
  await using vbd = await openTestVbd(planIn);
  const guest = await connectGuest(vbd.socketPath, vbd.plan.exportName);
  const [slow, deaf, ...silent] = await Promise.all([connectRaw, connectRaw, connectRaw].map((connect) => connect(vbd.socketPath)));
  const drip = setInterval(() => slow?.send(Buffer.from([0])), 500);
  deaf?.send(Buffer.concat([Buffer.from([0, 0, 0, 3]), ...Array.from({ length: limits.nbdOptions - 1 }, () => optionBytes(OPT.LIST))]));
  assert.equal((await guest.read(0, 16))[0], 7);
  for (const client of [slow, deaf, ...silent]) await client?.rest();
  clearInterval(drip);
  await until('the places are free', () => connections(vbd) === 1);
  assert.equal((await guest.read(0, 16))[0], 7, 'the time of a handshake is not that of a connection');
  const next = await connectGuest(vbd.socketPath, vbd.plan.exportName);
  assert.equal((await next.read(512, 16))[15], 7);
  await next.end();
  await guest.end();
});

test('two hundred clients at once: some are turned away, none harms who is served, and the next is let in', async () => {
  await using vbd = await openTestVbd(planIn);
  const guest = await connectGuest(vbd.socketPath, vbd.plan.exportName);
  const crowd = await Promise.allSettled(Array.from({ length: 200 }, () => connectRaw(vbd.socketPath)));
  assert.ok(connections(vbd) <= limits.nbdConnectionsPerVbd);
  await guest.write(0, Buffer.alloc(4096, 9));
  assert.equal((await guest.read(4095, 1))[0], 9);
  for (const one of crowd) if (one.status === 'fulfilled') one.value.end();
  await until('the crowd is gone', () => connections(vbd) === 1);
  // Those that have left while they waited to be accepted hold their places until it is their turn.
  const next = await until('the next is let in', () => connectGuest(vbd.socketPath, vbd.plan.exportName).catch(() => null));
  assert.equal((await next.read(0, 1))[0], 9);
  await next.end();
  await guest.end();
});
