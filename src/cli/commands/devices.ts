import type { Command } from '../command.ts';
import { deviceTable } from '../views.ts';

export const run: Command['run'] = async (context) => {
  const devices = await (await context.xvd()).listDevices();
  return { value: devices, text: deviceTable(devices) };
};
