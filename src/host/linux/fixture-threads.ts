// The I/O class of each thread of a process, in the words of ionice.

import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';

export function threadClasses(pid: number): Map<number, string> {
  const threads = readdirSync(`/proc/${pid}/task`);
  const lines = execFileSync('ionice', ['-p', ...threads], { encoding: 'utf8' })
    .trim()
    .split('\n');
  return new Map(threads.map((thread, at) => [Number(thread), lines[at]?.split(':')[0] ?? '']));
}
