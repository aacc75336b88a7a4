// What a command costs before it does anything: `xvd list` as a whole process beside a bare start of the same Node, alternated.
// The limit is 2.5 times, median against median.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const rounds = 25;
const limit = 2.5;
const xvd = resolve(import.meta.dirname, '../bin/xvd');
const folder = mkdtempSync(join(tmpdir(), 'xvd-start-'));
const env = { ...process.env, XVD_STATE: join(folder, 'state'), XVD_RUN: join(folder, 'run') };

function once(command: string, args: readonly string[]): number {
  const from = performance.now();
  const { status } = spawnSync(command, args, { env, stdio: 'ignore' });
  if (status !== 0) throw new Error(`${command} ended with ${status}`);
  return performance.now() - from;
}

const median = (times: readonly number[]): number => times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? NaN;

try {
  const bare: number[] = [];
  const list: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    bare.push(once(process.execPath, ['-e', '0']));
    list.push(once(xvd, ['list']));
  }
  const ratio = median(list) / median(bare);
  console.log(`node -e 0: ${median(bare).toFixed(1)} ms   xvd list: ${median(list).toFixed(1)} ms   ratio ${ratio.toFixed(2)} (limit ${limit})`);
  process.exitCode = ratio <= limit ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
