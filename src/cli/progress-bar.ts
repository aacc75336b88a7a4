// One line on a terminal's standard error that is drawn over itself.

import { formatSize } from '../core/size.ts';

export type ProgressBar = { show(doneBytes: number, totalBytes: number, done?: string): void; clear(): void };

/** A terminal that does not know its width says 0. */
export function progressBar(write: (text: string) => void, told = 80): ProgressBar {
  const columns = told > 0 ? told : 80;
  let drawn = '';
  return {
    show(doneBytes, totalBytes, done = 'zeroed') {
      const part = totalBytes === 0 ? 1 : doneBytes / totalBytes;
      const numbers = ` ${String(Math.floor(part * 100)).padStart(3)} %  ${formatSize(doneBytes)} of ${formatSize(totalBytes)} ${done}`;
      const width = Math.max(0, Math.min(40, columns - numbers.length - 3));
      const full = Math.round(part * width);
      const line = `[${'='.repeat(full)}${' '.repeat(width - full)}]${numbers}`;
      if (line === drawn) return;
      drawn = line;
      write(`\r${line}\u001B[K`);
    },
    clear() {
      if (drawn !== '') write('\r\u001B[K');
      drawn = '';
    },
  };
}
