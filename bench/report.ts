// The shape in which benchmarks tell what they measured: a table, and the goals that it is held against. `publish` prints it,
// keeps it in bench/results/NAME.json with the machine and the commit, and writes docs/benchmarks.md anew from all that is kept.
// `node bench/report.ts` writes the page alone.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';

export type Cell = string | number;
export type Table = { readonly columns: readonly string[]; readonly rows: readonly (readonly Cell[])[] };
/** `value` is a ratio or a figure whose unit its name tells; it must not pass `atMost`, or fall short of `atLeast`. */
export type Goal = { readonly name: string; readonly value: number; readonly atMost?: number; readonly atLeast?: number };
export type Report = {
  /** Of the file in bench/results. */
  readonly name: string;
  readonly title: string;
  /** What was measured beside what, and how, in whole sentences. */
  readonly about: string;
  readonly tables: readonly Table[];
  readonly goals: readonly Goal[];
};
export type Machine = { readonly processor: string; readonly cores: number; readonly memoryGib: number; readonly kernel: string; readonly node: string };
export type Kept = Report & {
  readonly machine: Machine;
  /** With `+` behind it: sources were changed since. */
  readonly commit: string;
  readonly time: string;
  /** Of the last minute, before the first figure was taken. */
  readonly load: number;
};

const root = join(import.meta.dirname, '..');
const results = join(import.meta.dirname, 'results');
const page = join(root, 'docs/benchmarks.md');
const loadBefore = loadavg()[0] ?? NaN;

export const isMet = ({ value, atMost = Infinity, atLeast = -Infinity }: Goal): boolean => value <= atMost && value >= atLeast;

/** The middle of some figures, whatever their order. */
export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** 0.99: the figure that 99 of 100 do not pass. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

/** A goal that is not met makes the process end with 1. `keep: false` for a run with other settings than the page tells of. */
export function publish(report: Report, { keep = true }: { readonly keep?: boolean } = {}): void {
  process.stdout.write(`\n${report.tables.map(textTable).join('\n')}`);
  for (const goal of report.goals) console.log(`${isMet(goal) ? 'met   ' : 'MISSED'}  ${goalText(goal)}`);
  if (!report.goals.every(isMet)) process.exitCode = 1;
  if (!keep) return;
  const kept: Kept = { ...report, machine: machine(), commit: commit(), time: new Date().toISOString(), load: Number(loadBefore.toFixed(2)) };
  mkdirSync(results, { recursive: true });
  writeFileSync(join(results, `${report.name}.json`), `${JSON.stringify(kept, rounded, 2)}\n`);
  writePage();
}

export function pageOf(all: readonly Kept[]): string {
  const sections = all.toSorted((a, b) => a.name.localeCompare(b.name)).map(sectionOf);
  return `# Benchmarks\n\n<!-- Written by bench/report.ts from bench/results/*.json; not by hand. -->\n\n\`make bench\` measures all of this anew, rivals and ours in turn in one run, and rewrites this page. A figure holds for the machine and commit beside it; ratios carry further than times.\n\n${sections.join('\n')}`;
}

function sectionOf({ title, about, tables, goals, machine: on, commit: at, time, load }: Kept): string {
  const where = `${on.cores} × ${on.processor}, ${on.memoryGib} GiB, Linux ${on.kernel}, Node ${on.node}; commit ${at}, ${time.slice(0, 10)}, load ${load} before.`;
  const held = goals.map((goal) => [goal.name, goal.value, bound(goal), isMet(goal) ? 'yes' : '**no**']);
  const goalTable = held.length === 0 ? '' : `\n${markdown({ columns: ['goal', 'measured', 'wanted', 'met'], rows: held })}`;
  return `## ${title}\n\n${about}\n\n${where}\n\n${tables.map(markdown).join('\n')}${goalTable}`;
}

const shown = (cell: Cell): string => (typeof cell === 'string' ? cell : Number.isInteger(cell) ? String(cell) : cell.toFixed(Math.abs(cell) < 10 ? 2 : 1));
const bound = ({ atMost, atLeast }: Goal): string =>
  [atMost === undefined ? [] : [`≤ ${atMost}`], atLeast === undefined ? [] : [`≥ ${atLeast}`]].flat().join(', ');
const goalText = (goal: Goal): string => `${goal.name}: ${shown(goal.value)} (wanted ${bound(goal)})`;
const markdown = ({ columns, rows }: Table): string =>
  [columns, columns.map(() => '---'), ...rows.map((row) => row.map(shown))].map((cells) => `| ${cells.join(' | ')} |\n`).join('');

function textTable({ columns, rows }: Table): string {
  const lines = [columns, ...rows.map((row) => row.map(shown))];
  const widths = columns.map((_, at) => Math.max(...lines.map((line) => line[at]?.length ?? 0)));
  const cell = (text: string, at: number): string => (at === 0 ? text.padEnd(widths[at] ?? 0) : text.padStart(widths[at] ?? 0));
  return lines.map((line) => `${line.map(cell).join('  ').trimEnd()}\n`).join('');
}

const machine = (): Machine => ({
  processor: cpus()[0]?.model.trim() ?? 'unknown processor',
  cores: cpus().length,
  memoryGib: Math.round(totalmem() / 2 ** 30),
  kernel: release(),
  node: process.versions.node,
});

function commit(): string {
  const git = (...args: string[]): string => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
  try {
    const changed = git('status', '--porcelain', '--', 'src', 'bench/*.ts', 'scripts', 'bin', 'package-lock.json') !== '';
    return `${git('rev-parse', '--short=10', 'HEAD')}${changed ? '+' : ''}`;
  } catch {
    return 'unknown';
  }
}

/** Four digits are more than any figure here is worth. */
const rounded = (_key: string, value: unknown): unknown => (typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value);

function writePage(): void {
  const kept = readdirSync(results).filter((file) => file.endsWith('.json'));
  writeFileSync(page, pageOf(kept.map((file) => JSON.parse(readFileSync(join(results, file), 'utf8')) as Kept)));
}

if (import.meta.main) writePage();
