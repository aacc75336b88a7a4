import type { AttachOptions } from '../../app/shapes.ts';
import { expertLevel } from '../../daemon/settings.ts';
import type { Command } from '../command.ts';
import { conflictTable, vbdTable } from '../views.ts';

type Texts = Pick<AttachOptions, 'limit' | 'delay' | 'faults'>;

const textsOf = (value: (name: string) => string | undefined): Texts =>
  Object.fromEntries(['limit', 'delay', 'faults'].flatMap((name) => (value(name) === undefined ? [] : [[name, value(name)]])));

export const run: Command['run'] = async (context, { args, flag, value }) => {
  const [source = '', target = '', domain = '', mode = 'r'] = args;
  const expert = value('expert');
  const options: AttachOptions = {
    source,
    target,
    domain,
    mode: mode === 'r' ? 'r' : 'w',
    driver: (value('driver') ?? 'auto') as 'auto' | 'dm' | 'nbd',
    persist: flag('persist'),
    dryRun: flag('dry-run'),
    expert: expert === undefined ? context.settings.expert : expertLevel(expert),
    ...textsOf(value),
    ...(value('cache') === undefined ? {} : { cache: value('cache') as 'none' | 'writeback' }),
  };
  const vbd = await (await context.xvd()).attach(options);
  for (const warning of vbd.warnings) context.tell(`warning: ${warning}`);
  if (options.dryRun === true) context.tell('dry run: nothing was changed');
  return { value: vbd, text: [vbdTable([vbd]), ...(vbd.conflicts.length > 0 ? [conflictTable(vbd.conflicts)] : [])].join('\n') };
};
