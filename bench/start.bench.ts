// What a command costs before it does anything: `xvd list` as a whole process beside a bare start of the same Node, alternated.
// The limit is 2 times, median against median.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { median, publish } from './report.ts';

const rounds = 25;
const limit = 2;
const xvd = resolve(import.meta.dirname, '../bin/xvd');
const folder = mkdtempSync(join(tmpdir(), 'xvd-start-'));
const env = { ...process.env, XVD_STATE: join(folder, 'state'), XVD_RUN: join(folder, 'run') };

function once(command: string, args: readonly string[]): number {
  const from = performance.now();
  const { status } = spawnSync(command, args, { env, stdio: 'ignore' });
  if (status !== 0) throw new Error(`${command} ended with ${status}`);
  return performance.now() - from;
}

try {
  const bare: number[] = [];
  const list: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    bare.push(once(process.execPath, ['-e', '0']));
    list.push(once(xvd, ['list']));
  }
  publish({
    name: 'start',
    title: 'What a command costs before it does anything',
    about: `\`xvd list\` without a catalog as a whole process, in turn with a bare start of the same Node: medians of ${rounds} rounds.`,
    tables: [
      {
        columns: ['process', 'ms'],
        rows: [
          ['`node -e 0`', median(bare)],
          ['`xvd list`', median(list)],
        ],
      },
    ],
    goals: [{ name: 'xvd list / node -e 0', value: median(list) / median(bare), atMost: limit }],
  });
} finally {
  rmSync(folder, { recursive: true, force: true });
}
