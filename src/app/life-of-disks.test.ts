// Random histories of creates, writes, ends, restores, failed wipes and healed extents, step by step beside a plain model: the same
// extents, in the same order, from the same disks, and exactly the same bytes lost.

import assert from 'node:assert/strict';

import fc from 'fast-check';

import { XvdError } from '../base/error.ts';
import { MIB, wallMs } from '../base/units.ts';
import { checkPool } from './check-pool.ts';
import { createDisk } from './create-disk.ts';
import { deleteDisk } from './delete-disk.ts';
import { LifeModel } from './fixture-life.ts';
import type { Extent } from './fixture-life.ts';
import { eachCatalog } from './fixture-system.ts';
import type { Rig } from './fixture-system.ts';
import { formatDevice } from './format-device.ts';
import { refreshDisk } from './refresh-disk.ts';
import { restoreDisk } from './restore-disk.ts';
import { showDisk } from './show-disk.ts';
import type { CatalogSystem } from './system.ts';

const KIB = 1024;
const PATHS = ['/dev/sda', '/dev/sdb'];
const EXTENT_BYTES = [4 * MIB, 6 * MIB];

type Life = { readonly system: CatalogSystem; readonly model: LifeModel; readonly fails: Set<string>; readonly rig: Rig };
type Step = (life: Life) => Promise<void>;

const keyOf = ({ device, index }: Extent): string => `${device}:${index}`;
const nowOf = ({ system }: Life): number => system.clock.read().wallMs;
const pick = (life: Life, at: number): number => 1 + (at % Math.max(1, life.model.nextId - 1));

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'done',
    (error: unknown) => (error instanceof XvdError ? error.code : assert.fail(String(error))),
  );
}

const create =
  (kib: number, leaseMs: number | null, wipe: boolean): Step =>
  async (life) => {
    const { system, model, fails } = life;
    const now = nowOf(life);
    const expected = model.create(kib * KIB, leaseMs === null ? null : now + leaseMs, now, wipe, (extent) => fails.has(keyOf(extent)));
    const got = await codeOf(createDisk(system, { sizeBytes: kib * KIB, wipe, expiresInMs: leaseMs }));
    assert.equal(got, expected === 'made' ? 'done' : 'POOL_FULL');
  };

const end: (at: number) => Step = (at) => async (life) => {
  const disk = life.model.disks.get(pick(life, at));
  const got = await codeOf(deleteDisk(life.system, { disk: String(pick(life, at)) }));
  assert.equal(got, disk === undefined ? 'DISK_NOT_FOUND' : 'done');
  if (disk !== undefined && (disk.expiresAt === null || disk.expiresAt > nowOf(life))) disk.expiresAt = nowOf(life);
};

const restore: (at: number) => Step = (at) => async (life) => {
  const disk = life.model.disks.get(pick(life, at));
  const got = await codeOf(restoreDisk(life.system, { disk: String(pick(life, at)) }));
  const over = disk?.expiresAt !== null && (disk?.expiresAt ?? 0) <= nowOf(life);
  assert.equal(got, disk === undefined ? 'DISK_NOT_FOUND' : over && life.model.lostBytes(disk) > 0 ? 'DISK_RECLAIMED' : 'done');
  if (got === 'done' && disk !== undefined && over) disk.expiresAt = null;
};

const refresh =
  (at: number, leaseMs: number): Step =>
  async (life) => {
    const disk = life.model.disks.get(pick(life, at));
    const got = await codeOf(refreshDisk(life.system, { disk: String(pick(life, at)), expiresInMs: leaseMs }));
    if (got === 'done' && disk !== undefined) disk.expiresAt = nowOf(life) + leaseMs;
  };

/** As an attach for writing does. */
const write: (at: number) => Step =
  (at) =>
  async ({ system, model, ...life }) => {
    const disk = model.disks.get(pick({ system, model, ...life }, at));
    if (disk === undefined) return;
    model.write(disk);
    await system.catalog.write(async (writer) =>
      writer.setRuns(
        disk.id,
        (await writer.runs(disk.id)).map((run) => ({ ...run, clean: false })),
      ),
    );
  };

const breakExtent =
  (device: number, index: number): Step =>
  async ({ fails }) =>
    void fails.add(`${device}:${index}`);
const heal: Step = async ({ system, model, fails }) => {
  fails.clear();
  model.heal(() => false);
  await checkPool(system);
};
const pass: (ms: number) => Step =
  (ms) =>
  async ({ rig }) =>
    rig.pass(ms);

const some = fc.nat({ max: 40 });
const lease = fc.option(fc.integer({ min: 1, max: 50 }), { nil: null });
const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .tuple(fc.integer({ min: 1, max: 30 * 256 }), lease, fc.integer({ min: 0, max: 4 }))
      .map(([pages, ms, wipe]) => create(pages * 4, ms, wipe > 0)),
  },
  { weight: 4, arbitrary: some.map(end) },
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 40 }).map(pass) },
  { weight: 2, arbitrary: some.map(restore) },
  { weight: 1, arbitrary: fc.tuple(some, fc.integer({ min: 1, max: 30 })).map(([at, ms]) => refresh(at, ms)) },
  { weight: 3, arbitrary: some.map(write) },
  { weight: 2, arbitrary: fc.tuple(fc.integer({ min: 1, max: 2 }), fc.nat({ max: 15 })).map(([device, index]) => breakExtent(device, index)) },
  { weight: 1, arbitrary: fc.constant(heal) },
);

/** All of the pool is asked, and two of its extents fail: what was taken is free again, but for those. */
const failedCreate: Step[] = [
  create(8 * KIB, 5, true),
  pass(9),
  breakExtent(1, 3),
  breakExtent(2, 1),
  create(94 * KIB, null, true),
  create(20 * KIB, 5, true),
  pass(9),
  create(84 * KIB, null, true),
  heal,
  create(94 * KIB, null, true),
];

/** The host, on which some extents can be read but not wiped, or neither. */
async function begin(rig: Rig): Promise<Life> {
  const fails = new Set<string>();
  const plain = await rig.another();
  const refuse = (path: string, offset: number, length: number): void => {
    const device = PATHS.indexOf(path);
    const size = EXTENT_BYTES[device] ?? 1;
    for (const key of fails) {
      const [number = 0, index = 0] = key.split(':').map(Number);
      const start = MIB + index * size;
      if (number === device + 1 && start < offset + length && offset < start + size) throw new XvdError('DEVICE_FAILED', `${path} fails`);
    }
  };
  const host: CatalogSystem['host'] = {
    ...plain.host,
    zero: async (device, ranges, progress, signal) => {
      for (const { offsetBytes, lengthBytes } of ranges) refuse(device.path, offsetBytes, lengthBytes);
      await plain.host.zero(device, ranges, progress, signal);
    },
    readBytes: async (device, range) => {
      refuse(device.path, range.offsetBytes, range.lengthBytes);
      return plain.host.readBytes(device, range);
    },
  };
  const system = { ...plain, host };
  const model = new LifeModel();
  for (const [index, path] of PATHS.entries()) {
    const { totalBytes, extentBytes } = await formatDevice(system, { device: path, extentBytes: EXTENT_BYTES[index] ?? MIB, force: true });
    model.addDevice(index + 1, extentBytes, totalBytes / extentBytes);
  }
  return { system, model, fails, rig };
}

async function compare(life: Life): Promise<void> {
  const { system, model } = life;
  const seen = await system.catalog.read(async (reader) => {
    const cells = (runs: readonly { deviceId: number; firstExtent: number; count: number; clean: boolean }[]): string[] =>
      runs.flatMap(({ deviceId, firstExtent, count, clean }) =>
        Array.from({ length: count }, (_, index) => `${deviceId}:${firstExtent + index}${clean ? '*' : ''}`),
      );
    const disks = await reader.disks({ which: 'all', now: wallMs(nowOf(life)) });
    const free = (await Promise.all((await reader.devices()).map(({ id }) => reader.unownedRuns(id)))).flat();
    return {
      disks: await Promise.all(disks.map(async ({ id, lostBytes, expiresAt }) => ({ id, lostBytes, expiresAt, extents: cells(await reader.runs(id)) }))),
      free: cells(free),
      bad: cells(await reader.badRuns()),
    };
  });
  const mark = (extent: Extent): string => `${keyOf(extent)}${model.isClean(extent) ? '*' : ''}`;
  assert.deepEqual(seen, {
    disks: [...model.disks.values()].map((disk) => ({
      id: disk.id,
      lostBytes: model.lostBytes(disk),
      expiresAt: disk.expiresAt,
      extents: disk.extents.map(mark),
    })),
    free: model.places('free'),
    bad: model.places('bad'),
  });
  for (const { id, lostBytes } of seen.disks) {
    const shown = await showDisk(system, String(id));
    assert.deepEqual([shown.lostBytes, shown.recoverable], [lostBytes, lostBytes === 0], `vd:${id} as it is shown`);
  }
}

eachCatalog('space is taken, given back and lost as a plain model says, over random histories', async (rig) => {
  await fc.assert(
    fc.asyncProperty(fc.array(steps, { minLength: 5, maxLength: 60, size: 'max' }), async (history) => {
      const life = await begin(rig);
      for (const step of history) {
        await step(life);
        await compare(life);
      }
      life.fails.clear();
      assert.deepEqual(
        (await checkPool(life.system)).problems.filter(({ repaired }) => !repaired),
        [],
      );
    }),
    { examples: [[failedCreate]], numRuns: Number(process.env['XVD_MODEL_RUNS'] ?? 12) },
  );
});
