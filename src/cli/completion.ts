// Completion of shells, made from the table of commands.

import type { CommandSpec } from './command.ts';
import { commonFlags } from './parse-command-line.ts';

export type Shell = 'bash' | 'zsh' | 'fish';

const flagsOf = (spec: CommandSpec): string[] => Object.keys({ ...spec.flags, ...commonFlags }).map((name) => `--${name}`);
const firstWords = (specs: readonly CommandSpec[]): string[] => [...new Set(specs.map(({ name }) => name.split(' ')[0] ?? ''))];

export function completionOf(shell: Shell, specs: readonly CommandSpec[]): string {
  if (shell === 'fish') return fish(specs);
  const script = bash(specs);
  return shell === 'bash' ? script : `#compdef xvd\nautoload -Uz bashcompinit && bashcompinit\n${script}`;
}

function bash(specs: readonly CommandSpec[]): string {
  const groups = specs.filter(({ name }) => name.includes(' '));
  const cases = specs.map((spec) => {
    const words = [...flagsOf(spec), ...spec.arguments.flatMap(({ choices }) => choices ?? [])];
    return `    ${spec.name.includes(' ') ? `'${spec.name}'` : `${spec.name}' '*|${spec.name}`}) words='${words.join(' ')}' ;;`;
  });
  const seconds = [...new Set(groups.map(({ name }) => name.split(' ')[0]))].map((first) => {
    const names = groups.filter(({ name }) => name.startsWith(`${first} `)).map(({ name }) => name.split(' ')[1]);
    return `  [ "$COMP_CWORD" = 2 ] && [ "\${COMP_WORDS[1]}" = ${first} ] && words='${names.join(' ')}'`;
  });
  return `_xvd() {
  local words='${firstWords(specs).join(' ')}'
  [ "$COMP_CWORD" -gt 1 ] && case "\${COMP_WORDS[1]} \${COMP_WORDS[2]}" in
${cases.join('\n')}
  esac
${seconds.join('\n')}
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _xvd xvd
`;
}

function fish(specs: readonly CommandSpec[]): string {
  const quote = (text: string): string => `'${text.replaceAll("'", "\\'")}'`;
  const lines = firstWords(specs).map((word) => {
    const summary = specs.find(({ name }) => name === word)?.summary ?? 'domains';
    return `complete -c xvd -n __fish_use_subcommand -f -a ${word} -d ${quote(summary)}`;
  });
  for (const spec of specs) {
    const [first, second] = spec.name.split(' ');
    const condition =
      second === undefined ? `__fish_seen_subcommand_from ${first}` : `__fish_seen_subcommand_from ${first}; and __fish_seen_subcommand_from ${second}`;
    if (second !== undefined) lines.push(`complete -c xvd -n '__fish_seen_subcommand_from ${first}' -f -a ${second} -d ${quote(spec.summary)}`);
    for (const [name, flag] of Object.entries({ ...spec.flags, ...commonFlags }))
      lines.push(`complete -c xvd -n ${quote(condition)} -l ${name} -d ${quote(flag.help)}${flag.kind === 'boolean' ? '' : ' -r'}`);
  }
  return `${lines.join('\n')}\n`;
}
