import { resolve } from 'node:path';
import type { RecoverOptions } from '../../app/recover-catalog.ts';
import { XvdError } from '../../base/error.ts';
import type { Command, Invocation } from '../command.ts';
import { deviceArgument, wholeNumber } from '../options.ts';

export const run: Command['run'] = async (context, invocation) => {
  const disk = invocation.value('only');
  // Opens the catalog by itself, since it may be one that can't be read.
  const { recoverFolder } = await import('../../library/mend.ts');
  const outcome = await recoverFolder(context.settings, {
    ...sourceOf(invocation),
    ...(disk === undefined ? {} : { only: disk }),
    force: invocation.flag('force'),
  });
  for (const warning of outcome.warnings) context.tell(`warning: ${warning}`);
  const lines = [
    `${outcome.disks.length} ${outcome.disks.length === 1 ? 'disk is' : 'disks are'} back`,
    ...(outcome.reclaimed.length > 0 ? [`others have had extents since of: ${outcome.reclaimed.join(' ')}`] : []),
    ...(outcome.removed.length > 0 ? [`were not there then, and are gone: ${outcome.removed.join(' ')}`] : []),
    ...(outcome.suspect ? ['not all that happened since is known: look at each disk, then `xvd check --repair` takes the mark "suspect" away'] : []),
  ];
  return { value: outcome, text: `${lines.join('\n')}\n` };
};

function sourceOf({ args, flag, value, values }: Invocation): RecoverOptions {
  const [file] = args;
  const before = value('before');
  const devices = values('device').map(deviceArgument);
  if ([file !== undefined, before !== undefined, flag('from-devices')].filter(Boolean).length !== 1)
    throw new XvdError('USAGE', 'recover goes back to one of: FILE, --before EVENT, --from-devices');
  if (devices.length > 0 && !flag('from-devices')) throw new XvdError('USAGE', '--device is for --from-devices');
  if (file !== undefined) return { file: resolve(file) };
  if (before !== undefined) return { before: wholeNumber(before, '--before') };
  return devices.length === 0 ? { fromDevices: true } : { fromDevices: true, devices };
}
