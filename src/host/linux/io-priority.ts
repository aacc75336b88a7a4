// Wiping that leaves the devices to their users: the threads that do the I/O ask for it in the kernel's idle class. A scheduler
// without classes (`none`) knows no difference. Without koffi nothing is changed.

import { readdirSync } from 'node:fs';
import { ioPriority, setIoPriority } from './kernel-calls.ts';

const IDLE = 3 << 13;

let under = 0;
const before = new Map<number, number>();

/** Until disposed; of several at once the last one sets back. Not the main thread: what it asks of the catalog is asked as always. */
export function idleIo(): Disposable {
  under += 1;
  for (const thread of workerThreads()) {
    const priority = ioPriority(thread);
    if (priority === null || priority === IDLE) continue;
    before.set(thread, priority);
    setIoPriority(thread, IDLE);
  }
  return {
    [Symbol.dispose]() {
      under -= 1;
      if (under > 0) return;
      for (const [thread, priority] of before) setIoPriority(thread, priority);
      before.clear();
    },
  };
}

/** Of this process, which is for wiping alone: all of its threads, and those to come. */
export function idleIoForGood(): void {
  for (const thread of threads()) setIoPriority(thread, IDLE);
}

const threads = (): number[] => readdirSync('/proc/self/task').map(Number);
const workerThreads = (): number[] => threads().filter((thread) => thread !== process.pid);
