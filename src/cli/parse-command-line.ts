// From words to a command with its flags and arguments; whatever does not fit is a usage error that says what would.

import { parseArgs } from 'node:util';
import { XvdError } from '../base/error.ts';
import type { CommandSpec, Flag, Invocation } from './command.ts';

export const commonFlags: Readonly<Record<string, Flag>> = {
  json: { kind: 'boolean', help: 'print JSON' },
  help: { kind: 'boolean', help: 'print this help' },
  config: { kind: 'text', value: 'FILE', help: 'configuration file (default /etc/xvd/xvd.toml)' },
};

export type Parsed = { readonly spec: CommandSpec; readonly invocation: Invocation };

/** Which command the words name: two words before one. null = none was given. */
export function findCommand(specs: readonly CommandSpec[], words: readonly string[]): CommandSpec | null {
  const [first, second] = words.filter((word) => !word.startsWith('-'));
  if (first === undefined) return null;
  const found = specs.find(({ name }) => name === `${first} ${second ?? ''}`) ?? specs.find(({ name }) => name === first);
  if (found !== undefined) return found;
  const group = specs.filter(({ name }) => name.startsWith(`${first} `));
  const message = group.length > 0 ? `'${first}' wants one of ${group.map(({ name }) => name.split(' ')[1]).join(', ')}` : `there is no command '${first}'`;
  const near = nearest(
    first,
    specs.map(({ name }) => name.split(' ')[0] ?? ''),
  );
  throw new XvdError('USAGE', message, { fix: near === null ? '`xvd --help` lists the commands.' : `Did you mean '${near}'?` });
}

export function parseCommandLine(spec: CommandSpec, words: readonly string[]): Invocation {
  const flags = { ...commonFlags, ...spec.flags };
  const options = Object.fromEntries(
    Object.entries(flags).map(([name, { kind }]) => [name, { type: kind === 'boolean' ? ('boolean' as const) : ('string' as const), multiple: true as const }]),
  );
  const fix = `See \`xvd ${spec.name} --help\`.`;
  let parsed;
  try {
    parsed = parseArgs({ args: joined(words, flags), options, allowPositionals: true, strict: true });
  } catch (error) {
    throw new XvdError('USAGE', usageMessage(error as Error, Object.keys(flags)), { fix });
  }
  const values = parsed.values as Readonly<Record<string, (string | boolean)[] | undefined>>;
  for (const [name, { choices, kind }] of Object.entries(flags)) {
    const given = values[name] ?? [];
    if (kind !== 'list' && kind !== 'boolean' && given.length > 1) throw new XvdError('USAGE', `--${name} is given twice`, { fix });
    const wrong = choices === undefined ? undefined : given.find((value) => !choices.includes(String(value)));
    if (wrong !== undefined) throw new XvdError('USAGE', `--${name} is one of ${choices?.join(', ')}, not '${String(wrong)}'`, { fix });
  }
  const args = parsed.positionals.slice(spec.name.split(' ').length);
  const help = values['help'] !== undefined;
  if (!help) checkArguments(spec, args, fix);
  return {
    args,
    flag: (name) => values[name]?.at(-1) === true,
    value: (name) => values[name]?.map(String).at(-1),
    values: (name) => values[name]?.map(String) ?? [],
  };
}

/** `--expires -5s` has a value that is wrong, and `-1M` is a wrong size: neither is a flag. */
function joined(words: readonly string[], flags: Readonly<Record<string, Flag>>): string[] {
  const end = words.indexOf('--');
  const args: string[] = [];
  const numbers: string[] = [];
  for (const [index, word] of words.entries()) {
    const before = args.at(-1);
    const isNumber = /^-\d/.test(word) && (end < 0 || index < end);
    if (isNumber && before !== undefined && before.startsWith('--') && flags[before.slice(2)]?.kind !== 'boolean' && flags[before.slice(2)] !== undefined)
      args[args.length - 1] = `${before}=${word}`;
    else if (isNumber) numbers.push(word);
    else args.push(word);
  }
  return numbers.length === 0 ? args : [...args, ...(end < 0 ? ['--'] : []), ...numbers];
}

function checkArguments(spec: CommandSpec, args: readonly string[], fix: string): void {
  spec.arguments.forEach(({ name, optional, choices }, index) => {
    const value = args[index];
    if (value === undefined && optional !== true) throw new XvdError('USAGE', `${name} is missing`, { fix });
    if (value !== undefined && choices !== undefined && !choices.includes(value))
      throw new XvdError('USAGE', `${name} is one of ${choices.join(', ')}, not '${value}'`, { fix });
  });
  const extra = args[spec.arguments.length];
  if (extra !== undefined) throw new XvdError('USAGE', `'${extra}' is one argument too many`, { fix });
}

function usageMessage(error: Error, flags: readonly string[]): string {
  const unknown = /Unknown option '--?([^'\s]+)/.exec(error.message)?.[1];
  if (unknown === undefined) return error.message.split('\n')[0] ?? error.message;
  const near = nearest(unknown, flags);
  return `there is no flag --${unknown}${near === null ? '' : `; did you mean --${near}?`}`;
}

/** The known word that is fewest edits away, when that is few. */
export function nearest(word: string, known: readonly string[]): string | null {
  const ranked = [...new Set(known)].map((candidate) => ({ candidate, distance: editDistance(word, candidate) })).toSorted((a, b) => a.distance - b.distance);
  const [best] = ranked;
  return best !== undefined && best.distance <= Math.max(word.length > 3 ? 2 : 1, Math.floor(word.length / 3)) ? best.candidate : null;
}

function editDistance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let i = 1; i <= one.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= other.length; j += 1) {
      const swap = (row[j - 1] ?? 0) + (one[i - 1] === other[j - 1] ? 0 : 1);
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[other.length] ?? 0;
}
