import { parseSize } from '../../core/size.ts';
import type { Command } from '../command.ts';
import { expiryOption, labelsOption } from '../options.ts';
import { diskTable } from '../views.ts';

export const run: Command['run'] = async (context, { args, flag, value, values }) => {
  const options = {
    sizeBytes: parseSize(args[0] ?? ''),
    ...expiryOption(value('expires'), context.nowMs),
    ...(value('name') === undefined ? {} : { name: value('name') ?? '' }),
    ...(value('pool') === undefined ? {} : { pool: value('pool') ?? '' }),
    labels: labelsOption(values('label')),
    onExpiry: value('on-expiry') === 'hold' ? ('hold' as const) : ('revoke' as const),
    wipe: !flag('no-wipe'),
    dryRun: flag('dry-run'),
  };
  const { progress, signal } = context;
  const disk = await (
    await context.xvd()
  ).createDisk(options, { signal, ...(progress === null ? {} : { onProgress: ({ doneBytes, totalBytes }) => progress(doneBytes, totalBytes) }) });
  for (const warning of disk.warnings) context.tell(warning);
  if (options.dryRun) context.tell('dry run: nothing was changed');
  return { value: disk, text: diskTable([disk], context.nowMs) };
};
