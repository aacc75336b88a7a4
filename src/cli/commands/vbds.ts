import type { Command } from '../command.ts';
import { vbdTable } from '../views.ts';

export const run: Command['run'] = async (context, { args }) => {
  const [domain] = args;
  const vbds = await (await context.xvd()).vbds(domain === undefined ? {} : { domain });
  return { value: vbds, text: vbdTable(vbds) };
};
