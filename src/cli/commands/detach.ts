import type { Command } from '../command.ts';
import { vbdTable } from '../views.ts';

export const run: Command['run'] = async (context, { args, flag }) => {
  const vbd = await (await context.xvd()).detach({ target: args[0] ?? '', domain: args[1] ?? '', force: flag('force') });
  return { value: vbd, text: vbdTable([vbd]) };
};
