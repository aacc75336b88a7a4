// What of the table this machine's own kernel can show: files, loop devices, mounts, swap, and programs that have something open,
// told by the Linux host. (Partitions and device-mapper: lab/tests/plain/sharing.sh.)

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { attachVbd } from '../../src/app/attach-vbd.ts';
import type { System } from '../../src/app/system.ts';
import { vbds } from '../../src/app/vbds.ts';
import { XvdError } from '../../src/base/error.ts';
import { MIB } from '../../src/base/units.ts';
import type { VbdMode } from '../../src/core/types.ts';
import { openMemoryDataPath } from '../../src/datapath/memory/open-memory-data-path.ts';
import { openLinuxHost } from '../../src/host/linux/open-linux-host.ts';
import { openPrograms } from '../../src/host/programs.ts';
import { openWorld } from '../sim/world.ts';
import { levels } from './verdicts.ts';

const run = (program: string, ...words: readonly string[]): string =>
  execFileSync(program, words, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
  }).trim();

/** An image with a filesystem, loop devices, mounts and programs on it; all of it goes at the end, latest first. */
class Bench implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'xvd-sharing-'));
  readonly image = join(this.folder, 'disk.img');
  readonly #undo: (() => void)[] = [() => rmSync(this.folder, { recursive: true })];

  constructor() {
    writeFileSync(this.image, '');
    truncateSync(this.image, 8 * MIB);
    run('mkfs.ext4', '-q', this.image);
  }
  loop(...flags: readonly string[]): string {
    const path = run('losetup', '--find', '--show', ...flags, this.image);
    this.#undo.push(() => run('losetup', '--detach', path));
    return path;
  }
  mount(what: string, ...flags: readonly string[]): string {
    const point = join(this.folder, `mnt${this.#undo.length}`);
    mkdirSync(point);
    run('mount', ...flags, what, point);
    this.#undo.push(() => run('umount', point));
    return point;
  }
  /** A program that has it open. */
  async open(path: string, flags: 'r' | 'r+'): Promise<void> {
    const script = `process.getBuiltinModule('fs').openSync(process.argv[1], '${flags}'); console.log('open'); setInterval(() => {}, 1 << 30);`;
    const child = spawn(process.execPath, ['-e', script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#undo.push(() => void child.kill('SIGKILL'));
    await once(child.stdout, 'data');
  }
  /** false where the kernel does not let us. */
  swap(path: string): boolean {
    try {
      run('mkswap', path);
      run('swapon', path);
    } catch {
      return false;
    }
    this.#undo.push(() => run('swapoff', path));
    return true;
  }
  [Symbol.dispose](): void {
    for (const undo of this.#undo.toReversed()) undo();
  }
}

async function systemOn(bench: Bench): Promise<System> {
  const { system } = await openWorld();
  const host = openLinuxHost({ programs: openPrograms({ searchPath: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` }), runFolder: join(bench.folder, 'run') });
  const nowhere = (): never => assert.fail('no byte is asked for');
  return { ...system, host, dataPaths: [openMemoryDataPath({ bytesOf: nowhere, verify: (device) => host.verify(device) })] };
}

/** A new use of that path as reader and writer, at each level: the existing use counts as one of that mode. null: it does not count. */
async function meets(system: System, path: string, kind: string, existing: VbdMode | null): Promise<void> {
  for (const mode of ['r', 'w'] as const) {
    for (const expert of [0, 1, 2] as const) {
      const level = existing === null ? 0 : levels[mode][existing];
      const says = `${path} (${mode}) at level ${expert} beside ${kind} (${existing})`;
      const options = { source: `phy:${path}`, target: 'xvdq', domain: 'web02', mode, expert, dryRun: true };
      if (level > expert) {
        await assert.rejects(attachVbd(system, options), (error) => {
          assert.ok(error instanceof XvdError && error.code === 'SHARING_REFUSED', `${says}: ${String(error)}`);
          const details = error.details as { readonly level: number; readonly conflicts: readonly { readonly user: string }[] };
          assert.equal(details.level, level, `${says}: ${error.message}`);
          assert.ok(
            details.conflicts.some(({ user }) => user === kind),
            `${says}: ${error.message}`,
          );
          return true;
        });
      } else {
        const found = await attachVbd(system, options);
        assert.equal(found.sharing, level, says);
        assert.equal(
          found.conflicts.some(({ user }) => user === kind),
          level > 0,
          says,
        );
      }
    }
  }
  assert.ok((await vbds(system)).every(({ domain }) => domain !== 'web02'));
}

test('a file with a loop device on it: the loop device is its reader or writer', async () => {
  for (const [flags, mode] of [
    [['--read-only'], 'r'],
    [[], 'w'],
  ] as const) {
    using bench = new Bench();
    const loop = bench.loop(...flags);
    const system = await systemOn(bench);
    await meets(system, bench.image, 'loop', mode);
    if (mode === 'w') await meets(system, loop, 'loop', null);
  }
});

test('a mount counts by what its filesystem may do: read-only, writable, and a read-only bind of a writable one', async () => {
  for (const [option, mode] of [
    ['ro,noload', 'r'],
    ['rw', 'w'],
  ] as const) {
    using bench = new Bench();
    const loop = bench.loop();
    const point = bench.mount(loop, '-o', option);
    const system = await systemOn(bench);
    await meets(system, loop, 'mount', mode);
    if (mode === 'r') continue;
    const bound = bench.mount(point, '--bind');
    run('mount', '-o', 'remount,bind,ro', bound);
    await meets(system, loop, 'mount', 'w');
  }
});

test('a mount of another mount namespace counts', async () => {
  using bench = new Bench();
  const loop = bench.loop();
  const point = join(bench.folder, 'elsewhere');
  mkdirSync(point);
  const script = 'mount "$1" "$2" && echo mounted && read -r _';
  const other = spawn('unshare', ['--mount', 'sh', '-c', script, 'sh', loop, point], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    await once(other.stdout, 'data');
    await meets(await systemOn(bench), loop, 'mount', 'w');
  } finally {
    other.stdin.end('\n');
    await once(other, 'exit');
  }
});

test('a program that has the file or the loop device on it open is its reader or writer, and of no other', async () => {
  for (const [flags, mode] of [
    ['r', 'r'],
    ['r+', 'w'],
  ] as const) {
    using bench = new Bench();
    await bench.open(bench.image, flags);
    await meets(await systemOn(bench), bench.image, 'process', mode);
    using other = new Bench();
    const loop = other.loop('--read-only');
    if (mode === 'w') continue;
    await other.open(loop, flags);
    const system = await systemOn(other);
    await meets(system, loop, 'process', mode);
    using third = new Bench();
    await meets(system, third.image, 'process', null);
  }
});

test('a VBD of the file is in the way of its loop device, and the other way round', async () => {
  for (const mode of ['r', 'w'] as const) {
    using bench = new Bench();
    const loop = bench.loop();
    const system = await systemOn(bench);
    await attachVbd(system, { source: `phy:${loop}`, target: 'xvda', domain: 'web01', mode });
    await meets(system, loop, 'vbd', mode);
    using other = new Bench();
    const otherSystem = await systemOn(other);
    await attachVbd(otherSystem, { source: `phy:${other.image}`, target: 'xvda', domain: 'web01', mode });
    const later = other.loop('--read-only');
    await meets(otherSystem, later, 'vbd', mode);
  }
});

test('swap counts as a writer', async (t) => {
  using bench = new Bench();
  const loop = bench.loop();
  if (!bench.swap(loop)) return t.diagnostic('this machine lets nobody swap here: shown in the lab');
  await meets(await systemOn(bench), loop, 'swap', 'w');
});
