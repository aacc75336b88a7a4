import type { Command } from '../command.ts';
import { diskTable } from '../views.ts';

export const run: Command['run'] = async (context, { args, flag }) => {
  const disk = await (await context.xvd()).deleteDisk({ disk: args[0] ?? '', force: flag('force') });
  if (!disk.changed) context.tell(`${disk.uname} had expired already`);
  return { value: disk, text: diskTable([disk], context.nowMs) };
};
