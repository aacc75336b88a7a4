import type { Command } from '../command.ts';
import { domainTable } from '../views.ts';

export const run: Command['run'] = async (context) => {
  const domains = await (await context.xvd()).listDomains();
  return { value: domains, text: domainTable(domains) };
};
