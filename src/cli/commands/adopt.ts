import type { DeviceSide } from '../../app/adopt-device.ts';
import { formatSize } from '../../core/size.ts';
import type { Command } from '../command.ts';
import { deviceArgument } from '../options.ts';

export const run: Command['run'] = async (context, { args, flag, value }) => {
  const replaces = value('replaces');
  const outcome = await (
    await context.xvd()
  ).adoptDevice({
    device: deviceArgument(args[0] ?? ''),
    ...(replaces === undefined ? {} : { replaces: /^[0-9a-f-]{36}$/.test(replaces) ? replaces : deviceArgument(replaces) }),
    dryRun: flag('dry-run'),
    force: flag('force'),
  });
  for (const warning of outcome.warnings) context.tell(`warning: ${warning}`);
  const done = outcome.changed ? 'bound to the pool' : flag('dry-run') ? 'nothing was changed' : 'bound to the pool already';
  return { value: outcome, text: `was: ${side(outcome.was)}\nis:  ${side(outcome.is)}\n${done}\n` };
};

const side = ({ device, identity, sizeBytes, host }: DeviceSide): string =>
  `${device}  ${formatSize(sizeBytes)} (${sizeBytes} bytes)  ${Object.entries(identity)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ')}${host === null ? '' : `  host ${host}`}`;
