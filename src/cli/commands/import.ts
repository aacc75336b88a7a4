import { expertLevel } from '../../daemon/settings.ts';
import type { Command } from '../command.ts';
import { copyText, copyWork } from '../copy-view.ts';

export const run: Command['run'] = async (context, { args, flag, value }) => {
  const [image = '', disk = ''] = args;
  const format = value('format');
  const expert = value('expert');
  const options = {
    image,
    disk,
    trustImage: flag('trust-image'),
    ...(format === undefined ? {} : { format }),
    ...(expert === undefined ? {} : { expert: expertLevel(expert) }),
  };
  const copied = await (await context.xvd()).importImage(options, copyWork(context));
  for (const warning of copied.warnings) context.tell(`warning: ${warning}`);
  return { value: copied, text: copyText(`${copied.image} is in ${copied.disk}`, copied) };
};
