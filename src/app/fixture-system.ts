// For tests of use cases: the system on a simulated host, once over each catalog, with a clock and randomness that a test moves.
// Each test ends with the product's own check.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { deflateRawSync, inflateRawSync } from 'node:zlib';

import { XvdError } from '../base/error.ts';
import type { ErrorCode } from '../base/error.ts';
import { MIB, wallMs } from '../base/units.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { seededRandom } from '../catalog/fixture.ts';
import { readLegacy } from '../catalog/legacy/read-legacy.ts';
import { openMemoryCatalog } from '../catalog/memory/open.ts';
import type { MemoryCatalogHandle } from '../catalog/memory/open.ts';
import { openSqliteCopy } from '../catalog/sqlite/open-copy.ts';
import { openSqliteCatalog } from '../catalog/sqlite/open.ts';
import type { Packer } from '../core/label-ring.ts';
import { openSimulatedHost } from '../host/simulated/open-simulated-host.ts';
import type { SimulatedHost } from '../host/simulated/open-simulated-host.ts';
import { checkPool } from './check-pool.ts';
import type { CatalogSystem } from './system.ts';

export const START_MS = Date.UTC(2026, 0, 1);
export const DISK_BYTES = 4 * MIB;

export const packer: Packer = { pack: (data) => deflateRawSync(data), unpack: (data, limitBytes) => inflateRawSync(data, { maxOutputLength: limitBytes }) };

export type Rig = {
  readonly system: CatalogSystem & { readonly host: SimulatedHost };
  readonly folder: string;
  /** Moves time and the time since boot. */
  pass(ms: number): void;
  /** Another catalog over the same host, as a second state folder has it. */
  another(over?: Partial<CatalogSystem>): Promise<CatalogSystem & { readonly host: SimulatedHost }>;
};

export const code =
  (expected: ErrorCode, words = /./) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof XvdError, String(error));
    assert.equal(error.code, expected, error.message);
    assert.match(error.message, words);
    return true;
  };

/** `checks: []` when the test leaves nothing wrong; else the codes of the problems that it leaves. */
export function eachCatalog(says: string, body: (rig: Rig) => Promise<void>, checks: readonly string[] = []): void {
  for (const kind of ['memory', 'sqlite'] as const) {
    test(`${kind}: ${says}`, async () => {
      const folder = await mkdtemp(join(tmpdir(), 'xvd-app-'));
      const opened: Catalog[] = [];
      try {
        const rig = await makeRig(kind, folder, opened);
        await body(rig);
        const { problems } = await checkPool(rig.system);
        assert.deepEqual([...new Set(problems.map((problem) => problem.code))], checks, problems.map((problem) => problem.message).join('\n'));
      } finally {
        for (const catalog of opened) await catalog[Symbol.asyncDispose]();
        await rm(folder, { recursive: true });
      }
    });
  }
}

async function makeRig(kind: 'memory' | 'sqlite', folder: string, opened: Catalog[]): Promise<Rig> {
  let passedMs = 0;
  const random = seededRandom(7);
  const host = openSimulatedHost([
    { path: '/dev/sda', sizeBytes: 66 * MIB },
    { path: '/dev/sdb', sizeBytes: 34 * MIB },
  ]);
  const clock = { read: () => ({ wallMs: wallMs(START_MS + passedMs), bootId: 'boot-1', sinceBootMs: 1000 + passedMs, synchronised: true }) };
  const open = async (): Promise<Catalog> => {
    const catalog =
      kind === 'memory'
        ? await openMemoryCatalog({ random })
        : await openSqliteCatalog({ folder: join(folder, `state-${opened.length}`), clock, random, create: false });
    opened.push(catalog);
    return catalog;
  };
  const openCopy = (file: string): Promise<Catalog> => {
    const [first] = opened;
    return kind === 'memory' ? (first as MemoryCatalogHandle).openCopy(file) : openSqliteCopy({ file, random });
  };
  const common = { host, clock, random, hostName: 'here', packer, readLegacy, openCopy };
  const system = { ...common, catalog: await open() };
  return {
    system,
    folder,
    pass: (ms) => void (passedMs += ms),
    another: async (over = {}) => ({ ...common, catalog: await open(), ...over, host }),
  };
}
