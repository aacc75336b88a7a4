// Revoke under full write load: connections write flat out, the VBD is revoked under them, and from the moment the revoke has
// returned no byte of the device changes any more and no page of it is cached: by direct I/O, and by another node over the same
// sectors. `make revoke-campaign` does it 1,000 times (XVD_REVOKE_RUNS).

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { attachVbd } from '../../src/app/attach-vbd.ts';
import { checkPool } from '../../src/app/check-pool.ts';
import { createDisk } from '../../src/app/create-disk.ts';
import { detachVbd } from '../../src/app/detach-vbd.ts';
import { extentsOf } from '../../src/app/extents-of.ts';
import { formatDevice } from '../../src/app/format-device.ts';
import type { VbdInfo } from '../../src/app/shapes.ts';
import type { System } from '../../src/app/system.ts';
import { MIB } from '../../src/base/units.ts';
import { composeSystem } from '../../src/daemon/compose.ts';
import { answerOf, connectRaw, handshakeRaw, requestBytes } from '../../src/datapath/nbd/fixture-client.ts';
import type { RawClient } from '../../src/datapath/nbd/fixture-client.ts';
import { CMD } from '../../src/datapath/nbd/wire/constants.ts';
import { openSyscalls } from '../../src/host/syscalls.ts';
import { until } from '../until.ts';

const RUNS = Number(process.env['XVD_REVOKE_RUNS'] ?? 10);
const DISK_MIB = 8;
const WRITE_BYTES = 64 * 1024;
/** Writes that each connection has in flight. */
const DEPTH = 16;
const CONNECTIONS = 2;

type Scene = { readonly system: System; readonly node: string; readonly other: string };

/** Goes away with the last process that has it open: also when this one is killed. */
function loopOn(t: TestContext, file: string): string {
  const loop = execFileSync('losetup', ['--find', '--show', file], { encoding: 'utf8' }).trim();
  const fd = openSync(loop, 'r');
  t.after(() => closeSync(fd));
  // While it is open, this only says that it shall go with its last user.
  execFileSync('losetup', ['--detach', loop]);
  return loop;
}

/** A pool on a loop device, a second node over the same sectors, and two disks of which the second is the neighbour's. */
async function scene(t: TestContext): Promise<Scene> {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-revoke-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'pool');
  writeFileSync(file, '');
  truncateSync(file, (2 * DISK_MIB + 2) * MIB);
  const [node, other] = [loopOn(t, file), loopOn(t, file)];
  const system = await composeSystem({ stateFolder: join(folder, 'state'), runFolder: join(folder, 'run') }, () => {});
  t.after(async () => {
    for (const dataPath of system.dataPaths) for (const generation of await dataPath.list()) await dataPath.close(generation);
    await system[Symbol.asyncDispose]();
  });
  await formatDevice(system, { device: node, extentBytes: MIB, force: true });
  for (const name of ['own', 'neighbour']) await createDisk(system, { sizeBytes: DISK_MIB * MIB, name });
  return { system, node, other };
}

type Load = { readonly clients: readonly RawClient[]; readonly ended: Promise<unknown>; answered: number };

/** Writes without end, over the whole disk, until the connections are taken away. */
async function writeFlatOut(t: TestContext, vbd: VbdInfo, round: number): Promise<Load> {
  const path = new URL(vbd.uri ?? '').searchParams.get('socket') ?? '';
  const name = decodeURIComponent(new URL(vbd.uri ?? '').pathname.slice(1));
  const clients: RawClient[] = [];
  const load = { clients, ended: Promise.resolve() as Promise<unknown>, answered: 0 };
  for (let index = 0; index < CONNECTIONS; index += 1) {
    const client = await connectRaw(path);
    await handshakeRaw(client, name);
    clients.push(client);
    t.after(() => client.end());
  }
  const spots = (DISK_MIB * MIB) / WRITE_BYTES;
  const write = async (client: RawClient, lane: number): Promise<never> => {
    for (let sent = 0, answered = 0; ; answered += 1) {
      for (; sent < answered + DEPTH; sent += 1) {
        const offset = ((sent * 37 + lane * 11 + round) % spots) * WRITE_BYTES;
        const payload = Buffer.alloc(WRITE_BYTES, (sent % 255) + 1);
        client.send(Buffer.concat([requestBytes({ type: CMD.WRITE, offset, length: WRITE_BYTES }), payload]));
      }
      await answerOf(client);
      load.answered += 1;
    }
  };
  load.ended = Promise.allSettled(clients.map(write));
  return load;
}

/** Around every cache of that node. */
function digestOf(node: string, { startSector, sectors }: { startSector: number; sectors: number }): string {
  const words = [`if=${node}`, 'bs=1M', 'iflag=direct,skip_bytes,count_bytes', `skip=${startSector * 512}`, `count=${sectors * 512}`, 'status=none'];
  return createHash('sha256')
    .update(execFileSync('dd', words, { maxBuffer: 64 * MIB }))
    .digest('hex');
}

async function revokeOnce(t: TestContext, { system, node, other }: Scene, round: number): Promise<void> {
  const cache = round % 2 === 0 ? 'writeback' : 'none';
  const at = { target: 'xvda', domain: 'loaded' };
  const vbd = await attachVbd(system, { ...at, source: 'vd:own', mode: 'w', driver: 'nbd', cache, expert: 2 });
  const load = await writeFlatOut(t, vbd, round);
  const enough = 1 + ((round * 7) % 60);
  await until('the load runs', () => load.answered >= enough);
  await detachVbd(system, { ...at, force: true });
  const runs = await extentsOf(system, 'vd:own');
  const syscalls = openSyscalls();
  const digests = (from: string): string[] => runs.map((run) => digestOf(from, run));
  const after = digests(node);
  for (const path of [node, other]) {
    const fd = openSync(path, 'r');
    for (const { startSector, sectors } of runs) {
      const pages = syscalls?.cachestat(fd, startSector * 512, sectors * 512);
      assert.ok(typeof pages === 'object', 'the kernel tells of its page cache');
      assert.deepEqual([pages.cachedPages, pages.dirtyPages, pages.writebackPages], [0, 0, 0], `round ${round}: pages of ${path}`);
    }
    closeSync(fd);
  }
  await load.ended;
  for (const client of load.clients) client.end();
  // Whatever any cache still held would now be written.
  execFileSync('sync', [node, other]);
  assert.deepEqual(digests(node), after, `round ${round}: a byte changed after the revoke (${cache})`);
  assert.deepEqual(digests(other), after, `round ${round}: another node sees something else (${cache})`);
}

test(`revoked under full write load, ${RUNS} times: nothing changes afterwards, nothing is left in a cache`, async (t) => {
  const here = await scene(t);
  const at = { target: 'xvdb', domain: 'beside' };
  const beside = await attachVbd(here.system, { ...at, source: 'vd:neighbour', mode: 'w', driver: 'nbd', cache: 'writeback', expert: 2 });
  const busy = await writeFlatOut(t, beside, 0);
  for (let round = 0; round < RUNS; round += 1) {
    await revokeOnce(t, here, round);
    if (round % 100 === 99) t.diagnostic(`${round + 1} times`);
  }
  const before = busy.answered;
  await until('the neighbour was never disturbed', () => busy.answered > before);
  await detachVbd(here.system, { ...at, force: true });
  await busy.ended;
  for (const client of busy.clients) client.end();
  assert.deepEqual((await checkPool(here.system)).problems, []);
});
