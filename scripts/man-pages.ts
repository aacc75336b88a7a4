// Manual pages as roff (man(7)), made from the table of commands.

import { errorTable } from '../src/base/error.ts';
import type { CommandSpec, Flag } from '../src/cli/command.ts';
import { commonFlags } from '../src/cli/parse-command-line.ts';

const exits: Readonly<Record<number, string>> = {
  0: 'done',
  1: 'failed unexpectedly',
  2: 'usage',
  3: 'not found',
  4: 'refused as unsafe',
  5: 'no space',
  6: 'busy',
  7: 'a device or an external program failed',
  8: 'not possible on this host, not permitted, or the daemon is not running',
  9: 'the catalog is damaged or of a newer version',
};

const variables: Readonly<Record<string, string>> = {
  XVD_STATE: 'folder of the catalog (default: /var/lib/xvd as root, else $XDG_STATE_HOME/xvd)',
  XVD_RUN: 'folder of sockets and pipes (default: /run/xvd as root, else $XDG_RUNTIME_DIR/xvd, else $XVD_STATE/run)',
  XVD_EXPERT: 'expert level of attach and domain start: 0, 1 or 2 (default: 0)',
  NO_COLOR: 'no colours when set',
};

/** File name to text. */
export function manPages(specs: readonly CommandSpec[]): ReadonlyMap<string, string> {
  return new Map([['xvd.1', mainPage(specs)], ...specs.map((spec) => [`${pageName(spec)}.1`, commandPage(spec)] as const)]);
}

const pageName = ({ name }: CommandSpec): string => `xvd-${name.replace(' ', '-')}`;

function mainPage(specs: readonly CommandSpec[]): string {
  return [
    head('xvd', 'virtual disks that end by themselves and are never shared by accident'),
    '.SH SYNOPSIS\n.B xvd\n.I COMMAND\n[\\fIARGUMENT\\fR...] [\\fB\\-\\-FLAG\\fR...]',
    '.SH DESCRIPTION\nxvd leases virtual disks from a pool of devices and attaches them to domains. A disk whose lease is over gives its space to new disks, and is whole until they need it.',
    section(
      'COMMANDS',
      specs.map((spec) => [`\\fBxvd ${plain(spec.name)}\\fR`, `${spec.summary}; see ${pageName(spec)}(1)`]),
    ),
    section(
      'FLAGS OF EVERY COMMAND',
      Object.entries(commonFlags).map(([name, flag]) => [flagText(name, flag), flag.help]),
    ),
    section(
      'ENVIRONMENT',
      Object.entries(variables).map(([name, says]) => [bold(name), says]),
    ),
    section('FILES', [[bold('/etc/xvd/xvd.toml'), 'settings; a flag beats a variable, which beats this file']]),
    section(
      'EXIT STATUS',
      Object.entries(exits).map(([status, says]) => [bold(status), says]),
    ),
    section(
      'ERRORS',
      Object.entries(errorTable).map(([code, { title, exit }]) => [bold(code), `${title} (exit status ${exit})`]),
    ),
    '',
  ].join('\n');
}

function commandPage(spec: CommandSpec): string {
  const args = spec.arguments.map(({ name, optional }) => (optional === true ? `[\\fI${plain(name)}\\fR]` : `\\fI${plain(name)}\\fR`));
  const flags = Object.entries(spec.flags).map(([name, flag]) => `[${flagText(name, flag)}]${flag.kind === 'list' ? '...' : ''}`);
  return [
    head(pageName(spec), spec.summary),
    `.SH SYNOPSIS\n${[bold(`xvd ${spec.name}`), ...args, ...flags].join(' ')}`,
    ...(spec.details === undefined ? [] : [`.SH DESCRIPTION\n${line(spec.details)}`]),
    ...(spec.arguments.length === 0
      ? []
      : [
          section(
            'ARGUMENTS',
            spec.arguments.map(({ name, help }) => [`\\fI${plain(name)}\\fR`, help]),
          ),
        ]),
    section(
      'FLAGS',
      Object.entries({ ...spec.flags, ...commonFlags }).map(([name, flag]) => [flagText(name, flag), flag.help]),
    ),
    '.SH SEE ALSO\nxvd(1)\n',
  ].join('\n');
}

const head = (name: string, summary: string): string => `.TH ${name.toUpperCase()} 1 "" "xvd"\n.SH NAME\n${plain(name)} \\- ${plain(summary)}`;
const section = (title: string, rows: readonly (readonly [string, string])[]): string =>
  `.SH ${title}\n${rows.map(([term, says]) => `.TP\n${term}\n${line(says)}`).join('\n')}`;
const flagText = (name: string, { kind, value }: Flag): string =>
  kind === 'boolean' ? bold(`--${name}`) : `${bold(`--${name}`)} \\fI${plain(value ?? 'VALUE')}\\fR`;
const bold = (text: string): string => `\\fB${plain(text)}\\fR`;
const plain = (text: string): string => text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll('…', '...');
/** A line that begins with a dot or a quote would be a request. */
const line = (text: string): string =>
  plain(text)
    .replace(/^[.']/, '\\&$&')
    .replace(/`([^`]+)`/g, '\\fB$1\\fR');
