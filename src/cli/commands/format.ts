import { parseSize } from '../../core/size.ts';
import type { Command } from '../command.ts';
import { deviceArgument } from '../options.ts';
import { deviceTable } from '../views.ts';

export const run: Command['run'] = async (context, { args, flag, value }) => {
  const size = value('extent-size');
  const pool = value('pool');
  const xvd = await context.xvd();
  const device = await xvd.formatDevice({
    device: deviceArgument(args[0] ?? ''),
    ...(size === undefined ? {} : { extentBytes: parseSize(size) }),
    ...(pool === undefined ? {} : { pool }),
    wipe: flag('wipe'),
    label: !flag('no-label'),
    force: flag('force'),
  });
  for (const warning of device.warnings) context.tell(`warning: ${warning}`);
  if (!device.changed) context.tell(`${device.device} is in pool ${device.pool} already`);
  return { value: device, text: deviceTable([device]) };
};
