// The fence on a real kernel: a writer is killed in the middle, its extents go to another disk, and not one byte of the
// first owner is on the second's, through no node over the same sectors.

import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readdirSync, readFileSync, readSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import type { TestContext } from 'node:test';
import { attachVbd } from '../../src/app/attach-vbd.ts';
import { checkPool } from '../../src/app/check-pool.ts';
import { createDisk } from '../../src/app/create-disk.ts';
import { deleteDisk } from '../../src/app/delete-disk.ts';
import { formatDevice } from '../../src/app/format-device.ts';
import type { VbdInfo } from '../../src/app/shapes.ts';
import type { System } from '../../src/app/system.ts';
import { MIB } from '../../src/base/units.ts';
import { composeSystem } from '../../src/daemon/compose.ts';
import { until } from '../until.ts';

const run = promisify(execFile);
const DISK_MIB = 32;
const STAMP = 0x5a;

type Scene = { readonly system: System; readonly folder: string; readonly file: string };

async function scene(t: TestContext): Promise<Scene> {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-fence-'));
  const file = join(folder, 'pool');
  writeFileSync(file, '');
  truncateSync(file, (DISK_MIB + 2) * MIB);
  const system = await composeSystem({ stateFolder: join(folder, 'state'), runFolder: join(folder, 'run') }, () => {});
  t.after(async () => {
    for (const dataPath of system.dataPaths) for (const generation of await dataPath.list()) await dataPath.close(generation);
    await system[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  });
  return { system, folder, file };
}

function loopOn(t: TestContext, file: string): string {
  const loop = execFileSync('losetup', ['--find', '--show', file], { encoding: 'utf8' }).trim();
  t.after(() => execFileSync('losetup', ['--detach', loop]));
  return loop;
}

/** All bytes of a node, through its cache or around it. */
function bytesOf(node: string, direct: boolean): Buffer {
  if (direct) return execFileSync('dd', [`if=${node}`, 'bs=1M', 'iflag=direct', 'status=none'], { maxBuffer: 256 * MIB });
  const fd = openSync(node, constants.O_RDONLY);
  const chunk = Buffer.alloc(MIB);
  const chunks: Buffer[] = [];
  for (let count = readSync(fd, chunk); count > 0; count = readSync(fd, chunk)) chunks.push(Buffer.from(chunk.subarray(0, count)));
  closeSync(fd);
  return Buffer.concat(chunks);
}

const processesOf = ({ folder }: Scene, vbd: VbdInfo): number[] => readdirSync(join(folder, 'run', 'vbd', String(vbd.generation), 'processes')).map(Number);

/** Writes the first owner's stamp until the connection is killed under it. */
async function writeAndKill(t: TestContext, here: Scene, vbd: VbdInfo): Promise<void> {
  const writes = Array.from({ length: 400 }, () => ['-c', `write -q -P ${STAMP} 0 ${DISK_MIB}M`]).flat();
  const client = spawn('qemu-io', ['-f', 'raw', ...writes, vbd.uri ?? ''], { stdio: 'ignore' });
  t.after(() => client.kill('SIGKILL'));
  const ended = new Promise((resolve) => client.once('exit', resolve));
  await until('the first bytes of the first owner', () => readFileSync(here.file).includes(STAMP));
  for (const pid of processesOf(here, vbd)) process.kill(pid, 'SIGKILL');
  client.kill('SIGKILL');
  await ended;
}

async function handsOn(t: TestContext, here: Scene, device: string, nodes: readonly string[]): Promise<void> {
  const { system } = here;
  await formatDevice(system, { device, extentBytes: MIB, force: nodes.length > 0 });
  const first = await createDisk(system, { sizeBytes: DISK_MIB * MIB });
  const attach = { target: 'xvda', mode: 'w', driver: 'nbd', cache: 'writeback', expert: 2 } as const;
  const vbd = await attachVbd(system, { ...attach, source: first.uname, domain: 'first' });
  await writeAndKill(t, here, vbd);
  // Whoever else looks at the same sectors keeps pages of them in a cache of its own.
  for (const node of nodes) bytesOf(node, false);
  await deleteDisk(system, { disk: first.uname, force: true });
  const second = await createDisk(system, { sizeBytes: DISK_MIB * MIB });
  const next = await attachVbd(system, { ...attach, source: second.uname, domain: 'second' });
  const image = join(here.folder, 'image');
  // Not the synchronous kind: it is this process that accepts the connection.
  await run('nbdcopy', [next.uri ?? '', image]);
  assert.ok(
    readFileSync(image).every((byte) => byte === 0),
    'the second owner reads zeros',
  );
  execFileSync('sync');
  for (const node of [here.file, device, ...nodes]) {
    const data = bytesOf(node, false).subarray(MIB, (DISK_MIB + 1) * MIB);
    assert.ok(!data.includes(STAMP), `nothing of the first owner through the cache of ${node}`);
    if (node.startsWith('/dev/'))
      assert.ok(
        !bytesOf(node, true)
          .subarray(MIB, (DISK_MIB + 1) * MIB)
          .includes(STAMP),
        `nor around it, on ${node}`,
      );
  }
  assert.deepEqual((await checkPool(system)).problems, []);
}

test('fence, F4, F12: a writer killed in the middle leaves no byte on the next disk: a pool on a file', async (t) => {
  const here = await scene(t);
  await handsOn(t, here, here.file, []);
});

test('fence: the same with a loop device on the file of the pool', async (t) => {
  const here = await scene(t);
  await handsOn(t, here, here.file, [loopOn(t, here.file)]);
});

test('fence: the same with the pool on a loop device, and a second one on the same file', async (t) => {
  const here = await scene(t);
  await handsOn(t, here, loopOn(t, here.file), [loopOn(t, here.file)]);
});
