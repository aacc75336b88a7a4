// What import and export have in common on a terminal.

import type { CopyInfo } from '../app/shapes.ts';
import { formatSize } from '../core/size.ts';
import type { CopyWork } from '../library/copy.ts';
import type { Context } from './command.ts';

export function copyWork({ progress, signal }: Context): CopyWork {
  if (progress === null) return { signal };
  return { signal, onProgress: ({ doneBytes, totalBytes }) => progress(doneBytes, totalBytes, 'copied') };
}

export function copyText(what: string, { sizeBytes, format, resumedAtBytes }: CopyInfo): string {
  const resumed = resumedAtBytes === 0 ? '' : `, gone on with at ${formatSize(resumedAtBytes)}`;
  return `${what} (${formatSize(sizeBytes)}, ${format}${resumed})\n`;
}
