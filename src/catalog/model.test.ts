// Random histories on both catalogs at once: whatever they are asked, they answer alike, and the store's own check finds nothing.
// The one in memory is the model of the one in SQLite.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import fc from 'fast-check';

import { XvdError } from '../base/error.ts';
import { InvariantError } from '../base/invariant.ts';
import { bytes, extents, MIB, wallMs } from '../base/units.ts';
import type { Catalog, CatalogWriter } from './catalog.ts';
import { addDiskOn, device, disk, fixedClock, picture, proved, run, seededRandom, vbd, worker } from './fixture.ts';
import { openMemoryCatalog } from './memory/open.ts';
import { openSqliteCatalog } from './sqlite/open.ts';

const NOW = 500;
/** Meaningful or not: what breaks the contract must be refused by both. */
type Step = (writer: CatalogWriter) => Promise<unknown>;

const small = fc.nat({ max: 12 });
const some = fc.integer({ min: 1, max: 4 });
const when = fc.option(fc.constantFrom(100, 200, 500, 501, 900), { nil: null });
const at = (value: number | null) => (value === null ? null : wallMs(value));

/** Takes the smallest run that fits and gives the pieces of it to a new disk, as the app does. */
const create: fc.Arbitrary<Step> = fc
  .record({
    count: some,
    expiresAt: when,
    name: fc.option(fc.constantFrom('a', 'b', 'c'), { nil: null }),
    label: fc.option(fc.constantFrom('v1', 'v2'), { nil: null }),
    split: fc.boolean(),
  })
  .map(({ count, expiresAt, name, label, split }) => async (writer) => {
    const free = (await writer.smallestUnowned('p0', 512, bytes(count * 64 * MIB))) ?? (await writer.longestUnowned('p0', 512));
    if (free === null) return 'full';
    const taken = Math.min(free.count, count);
    const first = free.firstExtent;
    const runs =
      split && taken > 1
        ? [run(free.deviceId, first + 1, taken - 1, free.clean), run(free.deviceId, first, 1, free.clean)]
        : [run(free.deviceId, first, taken, free.clean)];
    return addDiskOn(writer, runs, { expiresAt: at(expiresAt), name, pool: 'p0', labels: label === null ? {} : { k: label } });
  });

const reclaim: fc.Arbitrary<Step> = some.map((left) => async (writer) => {
  const victim = await writer.nextReclaimable('p0', 512, wallMs(NOW));
  if (victim === null) return 'nothing';
  const runs = await writer.runs(victim.id);
  const kept = runs.slice(0, left - 1);
  await writer.setRuns(victim.id, kept);
  for (const gone of runs.slice(kept.length)) await writer.giveUnowned({ ...gone, clean: left % 2 === 0 });
  await writer.updateDisk({ ...victim, lostBytes: bytes(1) });
  return victim;
});

const change: fc.Arbitrary<Step> = fc
  .record({ id: small, expiresAt: when, name: fc.option(fc.constantFrom('a', 'b'), { nil: null }), label: fc.boolean() })
  .map(({ id, expiresAt, name, label }) => async (writer) => {
    const found = await writer.disk(id);
    if (found === null) return null;
    return writer.updateDisk({ ...found, expiresAt: at(expiresAt), name, labels: label ? { k: 'v1', z: 'y' } : {} });
  });

const raw: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ device: some, first: small, count: some, clean: fc.boolean() }).map(({ device: id, first, count, clean }) => async (writer: CatalogWriter) => {
    await writer.takeUnowned(run(id, first, count));
    await writer.giveUnowned(run(id, first, count, clean));
  }),
  fc.record({ device: some, first: small, count: some }).map(
    ({ device: id, first, count }) =>
      (writer: CatalogWriter) =>
        writer.giveUnowned(run(id, first, count)),
  ),
  fc.record({ id: small, device: some, first: small, count: some }).map(
    ({ id, device: on, first, count }) =>
      (writer: CatalogWriter) =>
        writer.setRuns(id, [run(on, first, count)]),
  ),
  fc.record({ device: some, first: small, count: some }).map(({ device: id, first, count }) => async (writer: CatalogWriter) => {
    await writer.takeUnowned(run(id, first, count));
    await writer.addBad(run(id, first, count));
  }),
  fc.record({ device: some, first: small, count: some }).map(({ device: id, first, count }) => async (writer: CatalogWriter) => {
    await writer.removeBad(run(id, first, count));
    await writer.giveUnowned(run(id, first, count));
  }),
  small.map((id) => (writer: CatalogWriter) => writer.removeDisk(id)),
  some.map((id) => (writer: CatalogWriter) => writer.removeDevice(id)),
  fc.record({ id: some, pool: fc.constantFrom('p0', 'p1') }).map(({ id, pool }) => async (writer: CatalogWriter) => {
    const found = await writer.device(id);
    return found === null ? null : writer.updateDevice({ ...found, pool });
  }),
  fc.record({ count: some, unit: fc.constantFrom(32, 64, 128), uuid: fc.uuid() }).map(
    ({ count, unit, uuid }) =>
      (writer: CatalogWriter) =>
        writer.addDevice(device({ uuid, pool: 'p0', extentCount: extents(count * 4), extentBytes: bytes(unit * MIB) })),
  ),
);

const users: fc.Arbitrary<Step> = fc.oneof(
  small.map((id) => (writer: CatalogWriter) => writer.addVbd(vbd({ source: { kind: 'vd', diskId: id } }))),
  fc.record({ id: small, state: fc.constantFrom('attached', 'revoked', 'detached', 'detached') }).map(
    ({ id, state }) =>
      (writer: CatalogWriter) =>
        writer.setVbdState(id, state),
  ),
  small.map((id) => (writer: CatalogWriter) => writer.addWorker(worker(id))),
  small.map((id) => (writer: CatalogWriter) => writer.removeWorker(id)),
  small.map((n) => (writer: CatalogWriter) => writer.addEvent({ time: wallMs(n), type: 't', subject: 's', cause: 'c', data: { n } })),
  small.map((n) => (writer: CatalogWriter) => writer.storeClock(fixedClock.read(), wallMs(n))),
  fc.record({ id: small, name: fc.constantFrom('a', 'b', null) }).map(
    ({ id, name }) =>
      (writer: CatalogWriter) =>
        writer.addDiskWithId({ ...disk({ name, pool: 'p0' }), id: id + 3 }),
  ),
  small.map((n) => (writer: CatalogWriter) => writer.raiseNumbers({ commit: n * 3, disk: n, generation: n, event: n })),
);

/** A write of some steps; one in eight ends by throwing. */
const write = fc.record({
  steps: fc.array(
    fc.oneof(
      { weight: 9, arbitrary: create },
      { weight: 5, arbitrary: reclaim },
      { weight: 3, arbitrary: change },
      { weight: 1, arbitrary: raw },
      { weight: 3, arbitrary: users },
    ),
    { minLength: 1, maxLength: 4 },
  ),
  fails: fc.integer({ min: 0, max: 7 }),
});

/** Which refusal comes first depends on when an implementation notices a broken contract: both must refuse, and change nothing. */
type Outcome = { readonly result: unknown } | 'refused';

async function outcomeOf(catalog: Catalog, { steps, fails }: { steps: readonly Step[]; fails: number }): Promise<Outcome> {
  try {
    return {
      result: await catalog.write(async (writer) => {
        const results: unknown[] = [];
        for (const step of steps) results.push((await step(writer)) ?? null);
        if (fails === 0) throw new RangeError('the end');
        return results;
      }),
    };
  } catch (error) {
    if (error instanceof XvdError || error instanceof InvariantError || error instanceof RangeError) return 'refused';
    throw error;
  }
}

test('sqlite and memory answer alike over random histories', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(write, { maxLength: 25, size: 'max' }), async (writes) => {
      const folder = await mkdtemp(join(tmpdir(), 'xvd-model-'));
      const memory = await openMemoryCatalog({ random: seededRandom(1), eventsKept: 5 });
      const sqlite = await openSqliteCatalog({ folder, clock: fixedClock, random: seededRandom(1), create: true, eventsKept: 5 });
      try {
        for (const catalog of [memory, sqlite]) await catalog.write((writer) => writer.addDevice(device({ pool: 'p0', extentCount: extents(12) })));
        for (const each of writes) {
          assert.deepEqual(await outcomeOf(sqlite, each), await outcomeOf(memory, each));
          assert.deepEqual(await sqlite.read((reader) => picture(reader, NOW)), await memory.read((reader) => picture(reader, NOW)));
        }
        await proved(memory);
        await proved(sqlite);
      } finally {
        await sqlite[Symbol.asyncDispose]();
        await rm(folder, { recursive: true });
      }
    }),
    { numRuns: 40 },
  );
});
