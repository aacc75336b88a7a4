import { XvdError } from '../../base/error.ts';
import type { Command } from '../command.ts';
import { vbdTable } from '../views.ts';

export const run: Command['run'] = async (context, { args, flag, value }) => {
  const generation = value('generation');
  if (generation !== undefined && !/^[1-9]\d{0,14}$/.test(generation)) throw new XvdError('VALUE_INVALID', `'${generation}' is no generation of a VBD`);
  const only = generation === undefined ? {} : { generation: Number(generation) };
  const vbd = await (await context.xvd()).detach({ target: args[0] ?? '', domain: args[1] ?? '', force: flag('force'), ...only });
  return { value: vbd, text: vbdTable([vbd]) };
};
