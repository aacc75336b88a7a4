import type { Command } from '../command.ts';
import { domainTable } from '../views.ts';

export const run: Command['run'] = async (context, { args, flag }) => {
  const domain = await (await context.xvd()).stopDomain({ name: args[0] ?? '', force: flag('force') });
  return { value: domain, text: domainTable([domain]) };
};
