// Runs the lab's tests: picks them by name, starts the machines one after another, tells how each test ended, keeps the logs in
// .cache/lab. The exit status is 0 only if every test passed; an interrupt ends the machine and leaves nothing running.

import { globSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, cp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureImage } from './image.ts';
import type { LabImage } from './image.ts';
import { readResults, writeJob } from './job.ts';
import type { LabTest, MachineKind } from './job.ts';
import { runMachine } from './machine.ts';

const testsFolder = join(import.meta.dirname, 'tests');
const resultsFolder = join(import.meta.dirname, '..', '.cache', 'lab');
const kinds = ['plain', 'xen'] as const;
const usualSeconds = 120;
/** Start and end of a machine on a busy host. */
const machineMs = 180_000;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** By the start of their names, or one by its whole name. A test may say `# limit: SECONDS`; `# campaign`: only when it is named or the
 *  long counts are asked for; `# resets`: it has a machine of its own, and asks for resets. */
async function findTests(wanted: readonly string[], campaign: boolean): Promise<readonly LabTest[]> {
  const tests: LabTest[] = [];
  const names = globSync('*/*.sh', { cwd: testsFolder })
    .map((path) => path.replace(/\.sh$/, ''))
    .toSorted();
  const isWanted = (name: string): boolean => wanted.some((word) => (names.includes(word) ? name === word : name.startsWith(word)));
  for (const name of names) {
    const text = await readFile(join(testsFolder, `${name}.sh`), 'utf8');
    const machine = kinds.find((kind) => name.startsWith(`${kind}/`));
    const inTurn = campaign || wanted.includes(name) || !/^# campaign$/m.test(text);
    if (machine === undefined || !inTurn || (wanted.length > 0 && !isWanted(name))) continue;
    const limitSeconds = Number(/^# limit: (\d+)/m.exec(text)?.[1] ?? usualSeconds);
    tests.push({ name, machine, limitSeconds, resets: /^# resets$/m.test(text) });
  }
  return tests;
}

async function runTests(image: LabImage, machine: MachineKind, tests: readonly LabTest[], signal: AbortSignal): Promise<readonly string[]> {
  await using scratch = await openScratch();
  const started = performance.now();
  const { jobDisk, resultsDisk } = await writeJob(scratch.folder, { machine, tests, shell: false });
  const passed = new Set<string>();
  const line = (text: string): void => {
    say(`  ${text}`);
    const [, name] = /^(\S+) passed \d+$/.exec(text) ?? [];
    if (name !== undefined) passed.add(name);
  };
  const limitMs = tests.reduce((sum, { limitSeconds }) => sum + limitSeconds * 1000, machineMs);
  const resets = tests.some((test) => test.resets);
  say(`lab: the ${machine} machine, ${tests.length} ${tests.length === 1 ? 'test' : 'tests'}${resets ? ', with resets' : ''}`);
  const cause = await runMachine({ kind: machine, image, jobDisk, resultsDisk, folder: scratch.folder, limitMs, resets, signal, line });
  const results = join(resultsFolder, resets ? `${machine}-${tests.map(({ name }) => name.replace(/^.*\//, '')).join('-')}` : machine);
  await rm(results, { recursive: true, force: true });
  await readResults(resultsDisk, results);
  await cp(join(scratch.folder, 'console.log'), join(results, 'console.log'));
  say(`lab: the ${machine} machine ended after ${Math.round((performance.now() - started) / 1000)} s${cause === null ? '' : `: ${cause}`}`);
  return tests.map(({ name }) => name).filter((name) => !passed.has(name));
}

async function openScratch(): Promise<AsyncDisposable & { readonly folder: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'xvd-lab-'));
  return { folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
}

async function openShell(image: LabImage, machine: MachineKind, signal: AbortSignal): Promise<void> {
  await using scratch = await openScratch();
  const { jobDisk, resultsDisk } = await writeJob(scratch.folder, { machine, tests: [], shell: true });
  await runMachine({ kind: machine, image, jobDisk, resultsDisk, folder: scratch.folder, limitMs: 0, resets: false, signal, line: null });
}

async function main(words: readonly string[], signal: AbortSignal): Promise<number> {
  const flags = words.filter((word) => word.startsWith('--'));
  const wanted = words.filter((word) => !word.startsWith('--'));
  const image = await ensureImage(say);
  if (flags.includes('--shell')) {
    await openShell(image, wanted[0] === 'xen' ? 'xen' : 'plain', signal);
    return 0;
  }
  const tests = await findTests(wanted, flags.includes('--campaign'));
  if (tests.length === 0) throw new Error(`no test is called ${wanted.join(' or ')}`);
  await mkdir(resultsFolder, { recursive: true });
  const failed: string[] = [];
  for (const kind of kinds) {
    const own = tests.filter(({ machine }) => machine === kind);
    const boots = [own.filter(({ resets }) => !resets), ...own.filter(({ resets }) => resets).map((test) => [test])];
    for (const boot of boots.filter((list) => list.length > 0))
      failed.push(...(signal.aborted ? boot.map(({ name }) => name) : await runTests(image, kind, boot, signal)));
  }
  say(
    `lab: ${tests.length - failed.length} of ${tests.length} tests passed${failed.length === 0 ? '' : `; failed: ${failed.join(', ')} (logs in .cache/lab)`}`,
  );
  return failed.length === 0 ? 0 : 1;
}

const stop = new AbortController();
// Nobody reads any more: as good as an interrupt.
process.stdout.on('error', () => stop.abort());
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop.abort());
try {
  process.exitCode = await main(process.argv.slice(2), stop.signal);
} catch (error) {
  process.stderr.write(`lab: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
