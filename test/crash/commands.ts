// What is run and killed, drawn from the state of the world: every command that changes the catalog or a device.

import { join } from 'node:path';

import type { World } from './world.ts';

export type Draw = (limit: number) => number;
export type Command = {
  readonly kind: string;
  readonly words: readonly string[];
  /** Of the same command again, after it was killed. */
  readonly again: readonly number[];
};
type State = Awaited<ReturnType<World['look']>>;

const command = (kind: string, words: readonly string[], ...again: readonly number[]): Command => ({ kind, words, again: [0, ...again] });

/** `copies`: numbers of the backups that were made. */
export function drawCommand(world: World, state: State, copies: readonly number[], draw: Draw): Command {
  const pick = <T>(list: readonly T[]): T | undefined => list[draw(Math.max(1, list.length))];
  const idOf = (states: readonly string[]): string => String(pick(state.disks.filter((seen) => states.includes(seen.state)))?.disk.id ?? 1 + draw(9));
  const size = `${1024 * (1 + draw(9)) - (draw(3) === 0 ? 4 * draw(200) : 0)}K`;
  const lease = draw(2) === 0 ? ['--expires', '2h'] : [];
  const name = draw(2) === 0 ? ['--name', `n${draw(4)}`] : [];
  switch (draw(14)) {
    case 0:
    case 1:
      if (state.spareIsIn) return command('unformat', ['unformat', world.spare], 3, 6);
      return command('format', ['format', world.spare, '--extent-size', '1M', '--pool', 'spare']);
    case 2:
      if (state.spareIsIn) return command('create spare', ['create', size, '--pool', 'spare'], 5);
      return command('format --wipe', ['format', world.spare, '--extent-size', '1M', '--pool', 'spare', '--wipe']);
    case 3:
    case 4:
    case 5:
    case 6:
      return command('create', ['create', size, ...name, ...lease], 5, 6);
    case 7:
      return command('create --no-wipe', ['create', size, '--no-wipe', '--label', 'wiped=no', ...lease], 5);
    case 8:
      return command('delete', ['delete', idOf(['live', 'preparing'])], 3);
    case 9:
      return command('restore', ['restore', idOf(['expired']), ...lease], 3, 6);
    case 10:
      return command('refresh', ['refresh', idOf(['live']), ...lease], 3, 6);
    case 11:
      return command(
        'recover --before',
        ['recover', '--before', String(Math.max(1, state.lastEvent - draw(12))), ...(draw(3) === 0 ? ['--only', idOf(['live', 'expired'])] : [])],
        3,
      );
    case 12:
      return command('recover --from-devices', ['recover', '--from-devices', '--device', world.main], 3);
    default: {
      const copy = pick(copies);
      if (copy === undefined || draw(3) === 0) return command('check --repair', ['check', '--repair']);
      return command('recover FILE', ['recover', backupFile(world, copy)]);
    }
  }
}

export const backupFile = (world: World, copy: number): string => join(world.folder, `backup-${copy}`);
