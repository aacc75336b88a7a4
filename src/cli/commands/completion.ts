import type { Command } from '../command.ts';
import { completionOf } from '../completion.ts';

export const run: Command['run'] = async (context, { args }) => {
  const script = completionOf((args[0] ?? 'bash') as 'bash' | 'zsh' | 'fish', context.commands);
  return { value: { script }, text: script };
};
