// The commands of 2004 for unchanged scripts: their arguments (sizes in MB = MiB, expiry in seconds, 0 = never) and the
// lines that carry a result. What failed there with exit status 0, or in silence, fails here with 1 (F21).

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CATALOG_FILE } from '../../base/catalog-file.ts';
import { errorBody } from '../../base/error.ts';
import { resolveSettings } from '../../daemon/settings.ts';
import { commandsOfOld } from './old-commands.ts';

export type Print = { readonly out: (text: string) => void; readonly err: (text: string) => void };

/** Exit status of the old commands for whatever failed. */
const FAILED = 1;

export async function runOldCommand(name: string, words: readonly string[], { out, err }: Print): Promise<number> {
  const plain = name.replace(/\.py$/, '');
  const command = commandsOfOld[plain];
  const say = (line: string): void => out(`${line}\n`);
  const warn = (line: string): void => err(`${line}\n`);
  const args = words.filter((word) => word !== '--force');
  if (command === undefined || words.includes('--help') || args.length < command.arguments[0] || args.length > command.arguments[1]) {
    (words.includes('--help') ? say : warn)(`usage: ${name} ${command?.usage ?? ''} [--force]`);
    return words.includes('--help') && command !== undefined ? 0 : FAILED;
  }
  try {
    const settings = await resolveSettings({}, process.env);
    const database = join(settings.stateFolder, CATALOG_FILE);
    if (command.makesDatabase !== true && !existsSync(database)) {
      warn(`ERROR: Could not locate the database file at ${database}`);
      return FAILED;
    }
    const { xvdOf } = await import('../../library/open-xvd.ts');
    await using xvd = await xvdOf(settings, { labelsLater: true });
    return (await command.run({ xvd, settings, args, force: words.includes('--force'), out: say, err: warn })) ? 0 : FAILED;
  } catch (error) {
    const { message, fix } = errorBody(error);
    warn(`ERROR: ${message}\n  ${fix}`);
    return FAILED;
  }
}
