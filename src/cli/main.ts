// The command: words in, one answer out, an exit status. The only place that turns errors into text, and that touches the
// process.

import { readFileSync } from 'node:fs';
import { errorBody, errorTable, XvdError } from '../base/error.ts';
import { resolveSettings } from '../daemon/settings.ts';
import type { Xvd } from '../library/open-xvd.ts';
import type { Context, Invocation, Outcome } from './command.ts';
import { commands } from './commands.ts';
import { helpOf, helpOfAll } from './help.ts';
import { leave, print, terminalColumns } from './output.ts';
import { findCommand, parseCommandLine } from './parse-command-line.ts';
import { progressBar } from './progress-bar.ts';

const SIGINT_EXIT = 130;

async function main(words: readonly string[]): Promise<number> {
  const [first] = words;
  if (first?.startsWith('--as=') === true) {
    const { runOldCommand } = await import('./compat/run-old-command.ts');
    return runOldCommand(first.slice('--as='.length), words.slice(1), { out, err });
  }
  if (first === '--version') return out(`${version()}\n`);
  const json = words.includes('--json');
  try {
    const spec = findCommand(commands, words);
    if (spec === null && words.includes('--help')) return out(helpOfAll(commands));
    if (spec === null) throw new XvdError('USAGE', 'a command is missing', { fix: '`xvd --help` lists the commands.' });
    const invocation = parseCommandLine(spec, words);
    if (invocation.flag('help')) return out(helpOf(spec));
    const { run } = await spec.load();
    return await inContext(invocation, json, (context) => run(context, invocation));
  } catch (error) {
    return fail(error, json);
  }
}

async function inContext(invocation: Invocation, json: boolean, body: (context: Context) => Promise<Outcome>): Promise<number> {
  const config = invocation.value('config');
  const settings = await resolveSettings(config === undefined ? {} : { config }, process.env);
  const interrupt = new AbortController();
  const onSignal = (): void => interrupt.abort(new Error('interrupted'));
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  let opened: Promise<Xvd> | null = null;
  const columns = terminalColumns(1);
  const barColumns = json ? null : terminalColumns(2);
  const bar = barColumns === null ? null : progressBar(err, barColumns);
  try {
    const context: Context = {
      settings,
      json,
      xvd: () => (opened ??= import('../library/open-xvd.ts').then(({ xvdOf }) => xvdOf(settings, { labelsLater: true }))),
      tell: (line) => err(`${line}\n`),
      progress: bar === null ? null : bar.show,
      signal: interrupt.signal,
      commands,
      nowMs: Date.now(),
      colour: columns !== null && process.env['NO_COLOR'] === undefined,
      columns: columns ?? 80,
      print: (text) => void out(text),
    };
    const outcome = await body(context);
    // The answer has a line of its own.
    bar?.clear();
    return answer(context, outcome);
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
    err('interrupted\n');
    return SIGINT_EXIT;
  } finally {
    bar?.clear();
    const xvd = await (opened as Promise<Xvd> | null)?.catch(() => null);
    await xvd?.[Symbol.asyncDispose]();
  }
}

function answer(context: Context, { value, text, exit = 0 }: Outcome): number {
  if (context.json && value !== null) out(`${JSON.stringify(value)}\n`);
  else if (!context.json) out(text);
  return exit;
}

function fail(error: unknown, json: boolean): number {
  const body = errorBody(error);
  if (json) out(`${JSON.stringify({ error: body })}\n`);
  else err(`xvd: ${body.message}\n  ${body.fix}\n`);
  return errorTable[body.code].exit;
}

function out(text: string): number {
  print(1, text);
  return 0;
}

const err = (text: string): void => print(2, text);

function version(): string {
  const { version: number } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string };
  return number;
}

void main(process.argv.slice(2)).then(leave);
