// A pool on files (and, for root, on a loop device) with a catalog of its own, run by the built command and killed at will.
// Budgeted wiping, so that a wipe lasts some hundred milliseconds.

import { execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { text } from 'node:stream/consumers';

import { MIB, wallMs } from '../../src/base/units.ts';
import { diskState } from '../../src/core/lease.ts';
import type { Disk, DiskState } from '../../src/core/types.ts';
import { composeCatalogSystem } from '../../src/daemon/compose.ts';
import type { ComposedCatalog } from '../../src/daemon/compose.ts';

const bin = resolve(import.meta.dirname, '../../bin/xvd');

export type Ended = { readonly status: number | null; readonly killed: boolean; readonly out: string; readonly err: string; readonly ms: number };
/** A piece of a disk, in the order of the disk, in the file that lies behind its device. */
export type Piece = { readonly file: string; readonly offset: number; readonly length: number };
export type Seen = { readonly disk: Disk; readonly state: DiskState; readonly pieces: readonly Piece[] };
export type World = Disposable & {
  readonly folder: string;
  readonly stateFolder: string;
  readonly runFolder: string;
  /** Always in the pool, and one that comes and goes. */
  readonly main: string;
  readonly spare: string;
  /** `xvd WORDS --json`, killed after so many milliseconds when it still runs. */
  run(words: readonly string[], killAfterMs?: number): Promise<Ended>;
  within<T>(body: (system: ComposedCatalog) => Promise<T>): Promise<T>;
  /** Every disk, what is left of it where it lies, and the commit of that state. */
  look(): Promise<{ readonly commit: number; readonly disks: readonly Seen[]; readonly spareIsIn: boolean; readonly lastEvent: number }>;
  /** Bytes of the file behind a device. */
  read(piece: Piece): Uint8Array;
  write(piece: Piece, data: Uint8Array): void;
};

const MAIN_BYTES = 40 * MIB;
const SPARE_BYTES = 12 * MIB;

export function openWorld(kind: 'file' | 'loop'): World {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-crash-'));
  const [stateFolder, runFolder, config] = [join(folder, 'state'), join(folder, 'run'), join(folder, 'xvd.toml')];
  const [mainFile, spare] = [join(folder, 'main.img'), join(folder, 'spare.img')];
  writeFileSync(config, 'wipe_rate = "100M"\n');
  for (const [file, size] of [
    [mainFile, MAIN_BYTES],
    [spare, SPARE_BYTES],
  ] as const) {
    writeFileSync(file, '');
    truncateSync(file, size);
  }
  const main = kind === 'file' ? mainFile : execFileSync('losetup', ['--find', '--show', mainFile], { encoding: 'utf8' }).trim();
  const { PATH = '/usr/bin:/bin', HOME = folder } = process.env;
  const environment = { PATH, HOME, NO_COLOR: '1', XVD_STATE: stateFolder, XVD_RUN: runFolder };
  const within: World['within'] = async (body) => {
    await using system = await composeCatalogSystem({ stateFolder, runFolder });
    return body(system);
  };
  const world: Omit<World, 'look'> = {
    folder,
    stateFolder,
    runFolder,
    main,
    spare,
    async run(words, killAfterMs) {
      const from = performance.now();
      const child = spawn(bin, [...words, '--json', '--config', config], { env: environment, cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
      const timer = killAfterMs === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), killAfterMs);
      const status = new Promise<number | null>((done) => child.once('close', done));
      const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
      const ended = { status: await status, killed: child.signalCode === 'SIGKILL', out, err, ms: performance.now() - from };
      clearTimeout(timer);
      return ended;
    },
    within,
    read: ({ file, offset, length }) =>
      onFile(file, 'r', (fd) => {
        const data = new Uint8Array(length);
        readSync(fd, data, 0, length, offset);
        return data;
      }),
    write: ({ file, offset }, data) => onFile(file, 'r+', (fd) => void writeSync(fd, data, 0, data.length, offset)),
    [Symbol.dispose]() {
      if (kind === 'loop') execFileSync('losetup', ['--detach', main]);
      rmSync(folder, { recursive: true, force: true, maxRetries: 20 });
    },
  };
  return { ...world, look: () => within((system) => lookAt(system, (path) => (path === main ? mainFile : path), spare)) };
}

function onFile<T>(path: string, flags: 'r' | 'r+', body: (fd: number) => T): T {
  const fd = openSync(path, flags);
  try {
    return body(fd);
  } finally {
    closeSync(fd);
  }
}

function lookAt({ unguarded }: ComposedCatalog, fileOf: (path: string) => string, spare: string): ReturnType<World['look']> {
  return unguarded.catalog.read(async (reader) => {
    const now = wallMs(Date.now());
    const devices = new Map((await reader.devices()).map((device) => [device.id, device]));
    const disks: Seen[] = [];
    for (const disk of await reader.disks({ which: 'all', now })) {
      const pieces = (await reader.runs(disk.id)).map(({ deviceId, firstExtent, count }) => {
        const device = devices.get(deviceId);
        if (device === undefined) throw new Error(`a run on device ${deviceId}, which is not there`);
        return { file: fileOf(device.path), offset: device.dataStartBytes + firstExtent * device.extentBytes, length: count * device.extentBytes };
      });
      disks.push({ disk, state: diskState(disk, now), pieces });
    }
    return {
      commit: await reader.commitNumber(),
      disks,
      spareIsIn: [...devices.values()].some(({ path }) => path === spare),
      lastEvent: (await reader.highest()).event,
    };
  });
}
