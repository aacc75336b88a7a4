import { existsSync } from 'node:fs';
import type { Command } from '../command.ts';
import { readDescription } from '../read-description.ts';

export const run: Command['run'] = async (context, { args, flag }) => {
  const [file = ''] = args;
  const xvd = await context.xvd();
  const off = flag('off');
  // The file may be gone when its domain is to start no more.
  const said =
    off && !existsSync(file)
      ? await xvd.stopAutostart(file)
      : await readDescription(file).then((description) => (off ? xvd.stopAutostart(description.name) : xvd.autostartDomain(description)));
  return { value: said, text: `${said.name} ${said.autostart ? 'starts' : 'does not start'} after a reboot of the host\n` };
};
