// Processes that are made ready while others work: they get a processor only while nobody else wants it (SCHED_IDLE).

import { readdirSync } from 'node:fs';
import type { Syscalls } from './syscalls.ts';

/** A process that was just started, and what it starts. */
export function toBackground(syscalls: Syscalls, pid: number): void {
  setThreads(syscalls, pid, true);
}

/** false: it may be that it would have to wait for everybody, also while it serves; not everybody may take a thread back. */
export function toForeground(syscalls: Syscalls, pid: number): boolean {
  return setThreads(syscalls, pid, false);
}

/** A thread has the scheduling of the one that starts it: when none is new, all have what is wanted. */
function setThreads(syscalls: Syscalls, pid: number, idle: boolean): boolean {
  const done = new Set<string>();
  for (;;) {
    const threads = threadsOf(pid).filter((thread) => !done.has(thread));
    if (threads.length === 0) return true;
    for (const thread of threads) {
      if (syscalls.setScheduling(Number(thread), idle) < 0 && threadsOf(pid).includes(thread)) return false;
      done.add(thread);
    }
  }
}

function threadsOf(pid: number): readonly string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}
