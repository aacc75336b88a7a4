import type { Command } from '../command.ts';
import { drawMap } from '../map-view.ts';
import { deviceArgument } from '../options.ts';

export const run: Command['run'] = async (context, { args }) => {
  const [device] = args;
  const map = await (await context.xvd()).poolMap(device === undefined ? {} : { device: deviceArgument(device) });
  return { value: map.devices, text: drawMap(map.devices, { width: context.columns, colours: context.colour }) };
};
