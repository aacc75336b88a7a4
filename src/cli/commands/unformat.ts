import type { Command } from '../command.ts';
import { deviceArgument } from '../options.ts';

export const run: Command['run'] = async (context, { args }) => {
  const outcome = await (await context.xvd()).unformatDevice({ device: deviceArgument(args[0] ?? '') });
  for (const warning of outcome.warnings) context.tell(`warning: ${warning}`);
  return { value: outcome, text: `${outcome.device} is out of the pool\n` };
};
