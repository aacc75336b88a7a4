import { expertLevel } from '../../daemon/settings.ts';
import type { Command } from '../command.ts';
import { readDescription } from '../read-description.ts';
import { domainTable } from '../views.ts';

export const run: Command['run'] = async (context, { args, value }) => {
  const description = await readDescription(args[0] ?? '');
  const expert = value('expert');
  const domain = await (await context.xvd()).startDomain(description, expert === undefined ? {} : { expert: expertLevel(expert) });
  for (const warning of domain.warnings) context.tell(`warning: ${warning}`);
  return { value: domain, text: domainTable([domain]) };
};
