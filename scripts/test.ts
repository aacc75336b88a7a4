// Runs the tests in three groups and prints the sum of their counts, in the words of Node's own test runner:
//   unit         base, core and app: one process for all (isolation costs 0.1 s a file)
//   component    the rest of src: a process for each file, as they touch files, sockets and processes
//   integration  test/: the built command with real clients, one file at a time
// `scripts/test.ts FILE...` runs these files alone, each in its process.

import { spawnSync } from 'node:child_process';
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

type Group = { readonly name: string; readonly files: readonly string[]; readonly options: readonly string[] };
type Counts = { tests: number; passed: number; failed: number; skipped: number };

const root = resolve(import.meta.dirname, '..');
const cache = join(root, '.cache');
const countsFile = join(cache, `counts-${process.pid}.json`);

function groups(chosen: readonly string[]): readonly Group[] {
  const isolated = ['--test-timeout=600000', '--test-concurrency=1'];
  if (chosen.length > 0) return [{ name: 'chosen', files: chosen, options: isolated }];
  const inSrc = globSync('src/**/*.test.ts', { cwd: root }).toSorted();
  const isUnit = (file: string): boolean => /^src\/(base|core|app)\//.test(file);
  const integration = globSync('test/**/*.test.ts', { cwd: root }).toSorted();
  return [
    { name: 'unit', files: inSrc.filter(isUnit), options: ['--test-isolation=none', '--test-timeout=120000'] },
    { name: 'component', files: inSrc.filter((file) => !isUnit(file)), options: ['--test-timeout=300000', '--test-concurrency=2'] },
    { name: 'integration', files: integration, options: isolated },
  ];
}

/** false when a test or its process failed. */
function run(group: Group, sum: Counts): boolean {
  process.stdout.write(`\n# ${group.name}: ${group.files.length} files\n`);
  rmSync(countsFile, { force: true });
  const reporters = [
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    `--test-reporter=${join(root, 'scripts/counts-reporter.ts')}`,
    `--test-reporter-destination=${countsFile}`,
  ];
  const { status } = spawnSync(process.execPath, ['--test', ...group.options, ...reporters, ...group.files], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  try {
    const counts = JSON.parse(readFileSync(countsFile, 'utf8')) as Counts;
    for (const key of ['tests', 'passed', 'failed', 'skipped'] as const) sum[key] += counts[key];
  } catch {
    process.stderr.write(`test: the run of ${group.name} ended before its counts were known\n`);
    sum.failed += 1;
    return false;
  }
  return status === 0;
}

mkdirSync(cache, { recursive: true });
const sum: Counts = { tests: 0, passed: 0, failed: 0, skipped: 0 };
let passed = true;
for (const group of groups(process.argv.slice(2))) if (group.files.length > 0) passed = run(group, sum) && passed;
rmSync(countsFile, { force: true });
writeFileSync(join(cache, 'test-counts.json'), JSON.stringify(sum));
process.stdout.write(`\nℹ tests ${sum.tests}\nℹ pass ${sum.passed}\nℹ fail ${sum.failed}\nℹ skipped ${sum.skipped}\n`);
process.exitCode = passed && sum.failed === 0 && sum.tests > 0 ? 0 : 1;
