import { resolve } from 'node:path';
import type { Command } from '../command.ts';

export const run: Command['run'] = async (context, { args }) => {
  const outcome = await (await context.xvd()).backupCatalog({ file: resolve(args[0] ?? '') });
  return { value: outcome, text: `the catalog is copied to ${outcome.file}\n` };
};
