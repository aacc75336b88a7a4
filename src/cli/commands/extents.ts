import type { Command } from '../command.ts';
import { extentTable } from '../views.ts';

export const run: Command['run'] = async (context, { args }) => {
  const extents = await (await context.xvd()).extentsOf(args[0] ?? '');
  return { value: extents, text: extentTable(extents) };
};
