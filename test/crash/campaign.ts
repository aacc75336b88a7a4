// kill -9 at random moments of a command's life: after each the next command works, `check` is clean, and no byte of a former
// owner can be read. A moment is drawn from the time that a command of its kind usually takes.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';

import { MIB } from '../../src/base/units.ts';
import { openXvd } from '../../src/library/open-xvd.ts';
import type { Xvd } from '../../src/library/open-xvd.ts';
import { backupFile, drawCommand } from './commands.ts';
import type { Draw } from './commands.ts';
import { ghost, watchOwners } from './contents.ts';
import type { Owners } from './contents.ts';
import { killDuring, mustRun, seeded } from './killing.ts';
import type { Tallies } from './killing.ts';
import { killMigrations } from './migration.ts';
import { openWorld } from './world.ts';
import type { Ended, World } from './world.ts';

const KILLS_PER_WORLD = 25;
/** One of so many kills hits a migration. */
const MIGRATIONS = 10;

export async function runCampaign(kills: number, seed: number, tell: (line: string) => void): Promise<Tallies> {
  const draw = seeded(seed);
  const tallies: Tallies = new Map();
  const migrations = Math.ceil(kills / MIGRATIONS);
  await killMigrations(migrations, draw, tallies, `seed ${seed}`);
  for (let left = kills - migrations, number = 0; left > 0; left -= KILLS_PER_WORLD, number += 1) {
    const kind = process.getuid?.() === 0 && number % 2 === 1 ? 'loop' : 'file';
    using world = openWorld(kind);
    const campaign = new Campaign(world, draw, tallies, `seed ${seed}, world ${number} (${kind})`);
    await campaign.run(Math.min(left, KILLS_PER_WORLD));
    tell(`${campaign.name}: ${Math.min(left, KILLS_PER_WORLD)} kills, ${campaign.repaired} mended by check --repair`);
  }
  return tallies;
}

class Campaign {
  readonly name: string;
  repaired = 0;
  readonly #world: World;
  readonly #owners: Owners;
  readonly #draw: Draw;
  readonly #tallies: Tallies;
  readonly #copies: number[] = [];

  constructor(world: World, draw: Draw, tallies: Tallies, name: string) {
    this.name = name;
    this.#world = world;
    this.#owners = watchOwners(world);
    this.#draw = draw;
    this.#tallies = tallies;
  }

  async run(kills: number): Promise<void> {
    const { main, spare } = this.#world;
    await this.#must(['format', main, '--extent-size', '1M'], [0]);
    this.#world.write({ file: spare, offset: 0, length: 0 }, ghost(12 * MIB));
    for (let done = 0; done < kills;) {
      await this.#live();
      if (await this.#killOne(`${this.name}, kill ${done}`)) done += 1;
    }
  }

  /** Between two kills: owners come, write and go, so that what is free is full of what they wrote. */
  async #live(): Promise<void> {
    const { disks } = await this.#world.look();
    const living = disks.filter(({ state }) => state === 'live');
    for (const { disk } of living) if (this.#draw(3) === 0) await this.#owners.fill(disk.id);
    const end = living[this.#draw(Math.max(1, living.length))];
    await using xvd = await this.#open();
    if (living.length > 3 && end !== undefined) await xvd.deleteDisk({ disk: String(end.disk.id) });
    else if (living.length < 3) await xvd.createDisk({ sizeBytes: (1 + this.#draw(8)) * MIB, wipe: false, labels: { wiped: 'no' } });
    await this.#owners.prove(this.name);
    if (this.#draw(6) > 0) return;
    const copy = this.#copies.length + 1;
    await this.#must(['backup', backupFile(this.#world, copy)], [0]);
    this.#copies.push(copy);
  }

  /** As a program does, in this process: quicker than a command. */
  #open(): Promise<Xvd> {
    return openXvd({ stateFolder: this.#world.stateFolder, runFolder: this.#world.runFolder });
  }

  async #killOne(name: string): Promise<boolean> {
    const before = await this.#world.look();
    const command = drawCommand(this.#world, before, this.#copies, this.#draw);
    const when = `${name}, xvd ${command.words.join(' ')}`;
    const ended = await killDuring(this.#world, command, this.#draw, this.#tallies);
    const recovers = command.kind.startsWith('recover');
    if (recovers) this.#owners.recovered();
    if (!ended.killed) {
      assert.ok(ended.status !== null && [...command.again, 3, 4, 5, 6].includes(ended.status), `${when}: ${ended.status} ${ended.out}${ended.err}`);
      await this.#owners.prove(when);
      return false;
    }
    const tally = this.#tallies.get(command.kind);
    if (tally !== undefined && (await this.#world.look()).commit > before.commit) tally.afterCommit += 1;
    await this.#owners.prove(`${when}, killed`);
    const next = [command, { words: ['create', '1M'], again: [0, 5] }, { words: ['check', '--repair'], again: [0] }][this.#draw(3)] ?? command;
    await this.#must(next.words, next.again, when);
    if (recovers && next === command) this.#owners.recovered();
    await this.#owners.prove(`${when}, then ${next.words.join(' ')}`);
    await this.#check(`${when}, then ${next.words.join(' ')}`);
    await this.#owners.prove(`${when}, then ${next.words.join(' ')}, checked`);
    return true;
  }

  /** Clean, or clean after a repair of what a killed command may leave. */
  async #check(when: string): Promise<void> {
    await using xvd = await this.#open();
    const { problems } = await xvd.checkPool();
    const left = problems.filter(({ repaired }) => !repaired);
    for (const { code, message } of left) assert.ok(['DISK_PREPARING', 'DISK_SUSPECT'].includes(code), `${when}: ${message}`);
    if (left.length > 0) {
      this.repaired += 1;
      assert.ok(
        (await xvd.checkPool({ repair: true })).problems.every(({ repaired }) => repaired),
        when,
      );
    }
    if (problems.length > 0) assert.deepEqual(await xvd.checkPool(), { problems: [] }, when);
    const pipes = readdirSync(this.#world.runFolder).filter((file) => file.startsWith('wipe-'));
    assert.deepEqual(pipes, [], `${when}: pipes are left`);
  }

  #must(words: readonly string[], statuses: readonly number[], when = this.name): Promise<Ended> {
    return mustRun(this.#world, words, statuses, when);
  }
}
