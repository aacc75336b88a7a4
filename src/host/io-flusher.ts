// Processes that a host's or a guest's I/O goes through. When memory is short the kernel lets whoever wants some wait until dirty
// pages are written; a process that has to write them would wait for itself, for ever, and one that is ended to free memory takes a
// disk with it. Both are asked of the kernel here; without the privilege (CAP_SYS_RESOURCE) they are as any other process.

import { writeFileSync } from 'node:fs';
import type { Syscalls } from './syscalls.ts';

/** prctl: the caller is part of writing back. Programs that it starts or becomes are, too. */
const PR_SET_IO_FLUSHER = 57;
/** Below the guests themselves; -1000 would be never. */
const OOM_SCORE = '-900';

/** This process. */
export function becomeFlusher(syscalls: Syscalls | null): void {
  syscalls?.prctl(PR_SET_IO_FLUSHER, 1);
  spare('self');
}

/** A program that `start` starts at once, and not later; this process stays what it was. */
export function startFlusher<Child extends { readonly pid?: number | undefined }>(syscalls: Syscalls | null, start: () => Child): Child {
  syscalls?.prctl(PR_SET_IO_FLUSHER, 1);
  try {
    const child = start();
    if (child.pid !== undefined) spare(String(child.pid));
    return child;
  } finally {
    syscalls?.prctl(PR_SET_IO_FLUSHER, 0);
  }
}

function spare(process: string): void {
  try {
    writeFileSync(`/proc/${process}/oom_score_adj`, OOM_SCORE);
  } catch {
    // Not permitted, or ended already.
  }
}
