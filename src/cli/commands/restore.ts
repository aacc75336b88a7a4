import type { Command } from '../command.ts';
import { expiryOption } from '../options.ts';
import { diskTable } from '../views.ts';

export const run: Command['run'] = async (context, { args, value }) => {
  const disk = await (await context.xvd()).restoreDisk({ disk: args[0] ?? '', ...expiryOption(value('expires'), context.nowMs) });
  for (const warning of disk.warnings) context.tell(`warning: ${warning}`);
  return { value: disk, text: diskTable([disk], context.nowMs) };
};
