import type { Command } from '../command.ts';
import { commands } from '../commands.ts';
import { completionOf } from '../completion.ts';

export const run: Command['run'] = async (_, { args }) => {
  const script = completionOf((args[0] ?? 'bash') as 'bash' | 'zsh' | 'fish', commands);
  return { value: { script }, text: script };
};
