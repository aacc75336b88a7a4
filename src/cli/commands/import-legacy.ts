import { resolve } from 'node:path';
import { XvdError } from '../../base/error.ts';
import type { Command } from '../command.ts';
import { deviceArgument } from '../options.ts';
import { deviceTable, diskTable } from '../views.ts';

export const run: Command['run'] = async (context, { args, flag, value, values }) => {
  const outcome = await (
    await context.xvd()
  ).importLegacy({
    file: resolve(args[0] ?? ''),
    devices: values('device').map(pair),
    order: value('order') === 'number' ? 'number' : 'row',
    dryRun: flag('dry-run'),
    force: flag('force'),
    ...(value('pool') === undefined ? {} : { pool: value('pool') ?? '' }),
  });
  for (const warning of outcome.warnings) context.tell(`warning: ${warning}`);
  const done = outcome.changed ? 'taken over' : 'nothing was changed';
  return { value: outcome, text: `${deviceTable(outcome.devices)}\n${diskTable(outcome.disks, context.nowMs)}\n${done}\n` };
};

function pair(text: string): { old: string; new: string } {
  const at = text.indexOf('=');
  if (at <= 0 || at === text.length - 1)
    throw new XvdError('USAGE', `'${text}' is not OLD=NEW`, { fix: 'Write --device /dev/sda3=/dev/sdb, OLD as in vdisk_part.' });
  return { old: text.slice(0, at), new: deviceArgument(text.slice(at + 1)) };
}
