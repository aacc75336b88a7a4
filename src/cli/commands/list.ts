import { XvdError } from '../../base/error.ts';
import type { Command } from '../command.ts';
import { wholeNumber } from '../options.ts';
import { diskTable } from '../views.ts';

export const run: Command['run'] = async (context, { flag, value }) => {
  if (flag('expired') && flag('all')) throw new XvdError('USAGE', '--expired and --all exclude each other');
  const [label, limit, after] = [value('label'), value('limit'), value('after')];
  const disks = await (
    await context.xvd()
  ).listDisks({
    which: flag('all') ? 'all' : flag('expired') ? 'expired' : 'living',
    ...(label === undefined ? {} : { label }),
    ...(limit === undefined ? {} : { limit: wholeNumber(limit, '--limit') }),
    ...(after === undefined ? {} : { afterId: wholeNumber(after, '--after') }),
  });
  return { value: disks, text: diskTable(disks, context.nowMs) };
};
