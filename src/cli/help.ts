// Help, made from the table of commands.

import type { CommandSpec, Flag } from './command.ts';
import { commonFlags } from './parse-command-line.ts';

export function helpOfAll(specs: readonly CommandSpec[]): string {
  const width = Math.max(...specs.map(({ name }) => name.length));
  return `xvd: virtual disks that end by themselves and are never shared by accident

usage: xvd COMMAND [ARGUMENT...] [--FLAG...]

${specs.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`).join('\n')}

\`xvd COMMAND --help\` tells more. XVD_STATE is the folder of the catalog, XVD_RUN that of sockets and pipes, XVD_EXPERT the expert level.
`;
}

export function usageOf(spec: CommandSpec): string {
  const args = spec.arguments.map(({ name, optional }) => (optional === true ? `[${name}]` : name));
  const flags = Object.entries(spec.flags).map(([name, flag]) => `[${flagText(name, flag)}]${flag.kind === 'list' ? '...' : ''}`);
  return ['xvd', spec.name, ...args, ...flags].join(' ');
}

const flagText = (name: string, flag: Flag): string => (flag.kind === 'boolean' ? `--${name}` : `--${name} ${flag.value ?? 'VALUE'}`);

export function helpOf(spec: CommandSpec): string {
  const rows = [
    ...spec.arguments.map(({ name, help }) => [name, help] as const),
    ...Object.entries({ ...spec.flags, ...commonFlags }).map(([name, flag]) => [flagText(name, flag), flag.help] as const),
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return `usage: ${usageOf(spec)}\n\n${spec.summary}\n${spec.details === undefined ? '' : `${spec.details}\n`}\n${rows.map(([name, help]) => `  ${name.padEnd(width)}  ${help}`).join('\n')}\n`;
}
