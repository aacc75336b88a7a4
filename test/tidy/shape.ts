// Sizes of files and functions, and what must not be written where. Pure: sources in, problems out.

import { withoutComments, type Source } from './imports.ts';

export const FILE_LINES = 400;
export const FUNCTION_LINES = 70;
export const MEDIAN_LINES = 100;

const lineCount = (text: string): number => text.replace(/\n$/, '').split('\n').length;

export const fileSizeProblems = (sources: readonly Source[]): readonly string[] =>
  sources.filter(({ text }) => lineCount(text) >= FILE_LINES).map(({ path, text }) => `${path} has ${lineCount(text)} lines`);

export function medianLines(sources: readonly Source[]): number {
  const sizes = sources.map(({ text }) => lineCount(text)).toSorted((a, b) => a - b);
  return sizes[Math.floor(sizes.length / 2)] ?? 0;
}

const opensFunction = /^(\s*)(?:export )?(?:(?:static |override |get |set )?(?:async )?(?:function\*? ?)?[\w#.'[\]]+ ?(?:<.*>)?\(.*\)(?:: .+)? \{|.*=> \{)$/;
const isControl = /^\s*(?:\} )?(?:if|for|while|switch|catch|else|do|try|return|await)\b/;

/** Relies on the formatter: a function that opens on a line ends at the next line of the same indent that starts with `}`. */
export function functionSizeProblems(sources: readonly Source[]): readonly string[] {
  return sources.flatMap(({ path, text }) => {
    const lines = text.split('\n');
    return lines.flatMap((line, start) => {
      const indent = opensFunction.exec(line)?.[1];
      if (indent === undefined || (isControl.test(line) && !line.endsWith('=> {'))) return [];
      const length = lines.slice(start).findIndex((later, at) => at > 0 && later.startsWith(`${indent}}`)) + 1;
      return length > FUNCTION_LINES ? [`${path}:${start + 1} is a function of ${length} lines`] : [];
    });
  });
}

/** `name` says what is forbidden; `where` which files; `pattern` is looked for outside of comments unless `comments`. */
export type Ban = { readonly name: string; readonly where: RegExp; readonly pattern: RegExp; readonly comments?: boolean };

export function banProblems(sources: readonly Source[], bans: readonly Ban[]): readonly string[] {
  return sources.flatMap(({ path, text }) => {
    const code = withoutComments(text);
    return bans
      .filter((ban) => ban.where.test(path) && ban.pattern.test(ban.comments ? text : code))
      .map((ban) => `${path}: ${ban.name} (${ban.pattern.exec(ban.comments ? text : code)?.[0].trim()})`);
  });
}
