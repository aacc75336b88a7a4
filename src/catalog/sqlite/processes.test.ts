// Many processes on one catalog at once, processes that are killed, and a filesystem that fills up or is read-only.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import type { Readable } from 'node:stream';
import { test } from 'node:test';

import { wallMs } from '../../base/units.ts';
import type { Catalog } from '../catalog.ts';
import { disk, fixedClock, proved, seededRandom } from '../fixture.ts';
import { openSqliteCatalog } from './open.ts';

const program = join(import.meta.dirname, 'fixture-process.ts');
type Child = ChildProcessByStdio<null, Readable, null>;

function inFolder(
  says: string,
  body: (fixture: { parent: string; folder: string; start: (...args: string[]) => Child; open: () => Promise<Catalog> }) => Promise<void>,
): void {
  test(says, async () => {
    const parent = await mkdtemp(join(tmpdir(), 'xvd-processes-'));
    const folder = join(parent, 'state');
    const children: Child[] = [];
    const start = (command: string, ...args: string[]): Child => {
      const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      children.push(child);
      return child;
    };
    try {
      await body({ parent, folder, start, open: () => openSqliteCatalog({ folder, clock: fixedClock, random: seededRandom(5), create: false }) });
    } finally {
      for (const child of children) await ended(child, true);
      await rm(parent, { recursive: true });
    }
  });
}

async function ended(child: Child, kill: boolean): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const exit = once(child, 'exit');
  if (kill) child.kill('SIGKILL');
  await exit;
  return child.exitCode;
}

async function linesOf(child: Child): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) lines.push(line);
  assert.equal(await ended(child, false), 0);
  return lines;
}

inFolder('F6: writers of many processes get what each was told, none is lost or starved', async ({ folder, start, open }) => {
  const writers = Array.from({ length: 5 }, () => start(process.execPath, program, 'write', folder, '60'));
  const told = (await Promise.all(writers.map(linesOf))).map((lines) => lines.map(Number));
  assert.deepEqual(
    told.map((ids) => ids.length),
    [60, 60, 60, 60, 60],
  );
  assert.deepEqual(
    told.flat().toSorted((a, b) => a - b),
    Array.from({ length: 300 }, (_, index) => index + 1),
  );
  await using catalog = await open();
  assert.deepEqual(
    await catalog.read(async (reader) => [(await reader.disks({ which: 'all', now: wallMs(0) })).length, await reader.commitNumber()]),
    [300, 300],
  );
  await proved(catalog);
});

inFolder('a process that is killed while it writes leaves what it was told, and a catalog in order', async ({ folder, start, open }) => {
  const random = seededRandom(17);
  let last = 0;
  for (let round = 0; round < 8; round += 1) {
    const child = start(process.execPath, program, 'churn', folder);
    const enough = last + 1 + random.integer(40);
    for await (const line of createInterface({ input: child.stdout })) {
      last = Number(line);
      if (last === enough) child.kill('SIGKILL');
    }
    await ended(child, true);
    await using catalog = await open();
    assert.ok((await catalog.read((reader) => reader.commitNumber())) >= last);
    await proved(catalog);
  }
});

inFolder('a process that is killed in the middle of a write has changed nothing and locks nobody out', async ({ folder, start, open }) => {
  const child = start(process.execPath, program, 'hang', folder);
  for await (const line of createInterface({ input: child.stdout })) {
    assert.equal(line, 'inside');
    child.kill('SIGKILL');
  }
  await ended(child, true);
  await using catalog = await open();
  assert.deepEqual(await catalog.read((reader) => reader.disks({ which: 'all', now: wallMs(0) })), []);
  assert.equal((await catalog.write((writer) => writer.addDisk(disk()))).id, 1);
  await proved(catalog);
});

inFolder('a full filesystem and a read-only one give their own errors, and nothing is lost', async ({ parent, start }) => {
  const mount = join(parent, 'small');
  await mkdir(mount);
  const namespace = process.getuid?.() === 0 ? ['--mount'] : ['--user', '--map-root-user', '--mount'];
  const script = 'mount -t tmpfs -o size=6m none "$1" && shift && exec "$@"';
  const child = start('unshare', ...namespace, 'sh', '-c', script, 'sh', mount, process.execPath, program, 'fill', join(mount, 'state'));
  assert.deepEqual(await linesOf(child), ['CATALOG_DISK_FULL', '1', 'done', '0', 'NOT_PERMITTED', '1']);
});
