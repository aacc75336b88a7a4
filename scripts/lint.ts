// Types, style, format and dead code: all four are run, so that one report has everything.

import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const checks: readonly (readonly [string, readonly string[]])[] = [
  ['tsc', ['-p', '.']],
  ['oxlint', ['--type-aware', '--deny-warnings', '--report-unused-disable-directives', '.']],
  ['oxfmt', ['--check', '.']],
  ['knip', ['--no-progress']],
];

const failed = checks.filter(([program, args]) => {
  const { status } = spawnSync(resolve(root, 'node_modules/.bin', program), args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    // The programs of packages ask the PATH for node: let it be the pinned one.
    env: { ...process.env, PATH: `${resolve(process.execPath, '..')}:${process.env['PATH'] ?? ''}` },
  });
  process.stdout.write(`lint: ${program} ${status === 0 ? 'passed' : 'FAILED'}\n`);
  return status !== 0;
});
process.exitCode = failed.length === 0 ? 0 : 1;
