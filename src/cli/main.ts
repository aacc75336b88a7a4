// The command: words in, one answer out, an exit status. The only place that turns errors into text, and that touches the
// process.

import { readFileSync } from 'node:fs';
import { errorBody, errorTable, XvdError } from '../base/error.ts';
import { resolveSettings } from '../daemon/settings.ts';
import type { Xvd } from '../library/open-xvd.ts';
import type { Context, Invocation, Outcome } from './command.ts';
import { commands } from './commands.ts';
import { helpOf, helpOfAll } from './help.ts';
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
    return await inContext(invocation, json, async (context) => answer(context, await run(context, invocation)));
  } catch (error) {
    return fail(error, json);
  }
}

async function inContext(invocation: Invocation, json: boolean, body: (context: Context) => Promise<number>): Promise<number> {
  const config = invocation.value('config');
  const settings = await resolveSettings(config === undefined ? {} : { config }, process.env);
  const interrupt = new AbortController();
  const onSignal = (): void => interrupt.abort(new Error('interrupted'));
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  let opened: Promise<Xvd> | null = null;
  const bar = process.stderr.isTTY && !json ? progressBar((text) => process.stderr.write(text), process.stderr.columns) : null;
  try {
    return await body({
      settings,
      json,
      xvd: () => (opened ??= import('../library/open-xvd.ts').then(({ xvdOf }) => xvdOf(settings))),
      tell: (line) => err(`${line}\n`),
      progress: bar === null ? null : bar.show,
      signal: interrupt.signal,
      commands,
      nowMs: Date.now(),
      colour: process.stdout.isTTY && process.env['NO_COLOR'] === undefined,
      columns: process.stdout.columns ?? 80,
      print: (text) => void out(text),
    });
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
  process.stdout.write(text);
  return 0;
}

function err(text: string): void {
  process.stderr.write(text);
}

function version(): string {
  const { version: number } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string };
  return number;
}

// Who reads our output may have gone (`xvd list | head`): that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

// Set, not exit(): what was printed into a pipe is still on its way.
void main(process.argv.slice(2)).then((status) => (process.exitCode = status));
