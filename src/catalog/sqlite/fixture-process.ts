// A process of its own for the tests of many processes: `node fixture-process.ts JOB FOLDER N`. Each line of its output is a
// fact that the test compares with the catalog afterwards.

import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

import { errorBody } from '../../base/error.ts';
import { wallMs } from '../../base/units.ts';
import type { Catalog } from '../catalog.ts';
import { addDiskOn, device, disk, fixedClock, run, seededRandom } from '../fixture.ts';
import { openSqliteCatalog } from './open.ts';

const [job = '', folder = '', n = '0'] = process.argv.slice(2);
const count = Number(n);
const tell = (line: string | number): void => void writeSync(1, `${line}\n`);
const open = (create = true): Promise<Catalog> => openSqliteCatalog({ folder, clock: fixedClock, random: seededRandom(process.pid), create });
const codeOf = async (work: () => Promise<unknown>): Promise<string> => {
  try {
    await work();
    return 'done';
  } catch (error) {
    return errorBody(error).code;
  }
};
const grow = (catalog: Catalog): Promise<unknown> =>
  catalog.write((writer) => writer.addEvent({ time: wallMs(1), type: 'test', subject: 's', cause: 'c', data: { text: 'x'.repeat(100_000) } }));

const jobs: Readonly<Record<string, () => Promise<void>>> = {
  /** N disks, one a write; tells the ID of each once it is durable. */
  async write() {
    await using catalog = await open();
    for (let written = 0; written < count; written += 1) tell((await catalog.write((writer) => writer.addDisk(disk()))).id);
  },
  /** Moves extents about for ever; tells the number of each commit. */
  async churn() {
    await using catalog = await open();
    for (;;) {
      const commit = await catalog.write(async (writer) => {
        if ((await writer.devices()).length === 0) await writer.addDevice(device());
        const free = await writer.longestUnowned('default', 512);
        if (free !== null && free.count > 50) await addDiskOn(writer, [run(1, free.firstExtent, 7)]);
        for (const each of free !== null && free.count > 50 ? [] : await writer.disks({ which: 'all', now: wallMs(0) })) {
          const runs = await writer.runs(each.id);
          await writer.setRuns(each.id, []);
          for (const old of runs) await writer.giveUnowned(old);
        }
        return (await writer.commitNumber()) + 1;
      });
      tell(commit);
    }
  },
  /** Stops in the middle of a write, for ever. */
  async hang() {
    await using catalog = await open();
    await catalog.write(async (writer) => {
      for (let id = 0; id < 2_000; id += 1) await writer.addDisk(disk({ labels: { long: 'x'.repeat(1_000) } }));
      tell('inside');
      await new Promise((_resolve) => setInterval(() => {}, 1_000));
    });
  },
  /** FOLDER lies on a small filesystem of its own, in a mount namespace of its own. */
  async fill() {
    {
      await using catalog = await open();
      await catalog.write((writer) => writer.addDisk(disk({ name: 'before' })));
      let code = 'done';
      while (code === 'done') code = await codeOf(() => grow(catalog));
      tell(code);
      tell((await catalog.read((reader) => reader.diskByName('before')))?.id ?? 'lost');
      rmSync(`${dirname(folder)}/ballast`);
      tell(await codeOf(() => grow(catalog)));
      tell((await catalog.selfCheck()).length);
    }
    execFileSync('mount', ['-o', 'remount,ro', dirname(folder)]);
    tell(await codeOf(async () => (await open()).write((writer) => writer.addDisk(disk()))));
    execFileSync('mount', ['-o', 'remount,rw', dirname(folder)]);
    await using catalog = await open(false);
    tell((await catalog.read((reader) => reader.disks({ which: 'all', now: wallMs(0) }))).length);
  },
};

if (job === 'fill') writeFileSync(`${dirname(folder)}/ballast`, Buffer.alloc(1_000_000));
await jobs[job]?.();
