// The processes that commands leave behind to write labels: of one folder of a test, by the one argument that they have.

import { readdirSync, readFileSync } from 'node:fs';
import { until } from './until.ts';

/** Process IDs. */
export function labelWriters(folder: string): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      const words = commandLine(pid);
      return words.includes('label-writer') && words.includes(folder);
    })
    .map(Number);
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

/** Before a test takes the catalog back behind their backs. */
export async function endLabelWriters(folder: string): Promise<void> {
  await until('the writers have ended', () => {
    const writers = labelWriters(folder);
    for (const pid of writers) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    }
    return writers.length === 0;
  });
}
