import type { Command } from '../command.ts';
import { diskFields } from '../views.ts';

export const run: Command['run'] = async (context, { args }) => {
  const disk = await (await context.xvd()).showDisk(args[0] ?? '');
  return { value: disk, text: diskFields(disk, context.nowMs) };
};
