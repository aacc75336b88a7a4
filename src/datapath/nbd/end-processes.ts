// Ending connection processes and proving that they are gone: all of a VBD when it is revoked, or those whose client has left.

import { closeSync, constants, existsSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { XvdError } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import { POLLHUP, POLLRDHUP } from '../../host/syscalls.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { livingProcesses } from './process-records.ts';
import { readsEnd, withMemory } from './vbd-folder.ts';
import type { VbdFolder } from './vbd-folder.ts';

/** Between two looks at the records: a process that has just been started is on record after some 50 ms. */
const AGAIN_MS = 10;

/** Of a whole VBD; FENCE_UNPROVED when one of them does not go. */
export async function endProcesses(folder: VbdFolder, syscalls: Syscalls | null): Promise<void> {
  if (!existsSync(folder.alive)) return;
  const until = performance.now() + limits.fenceMs;
  killRecorded(folder);
  await pipeEnded(folder, until);
  await noneLeft(folder, until, () => withMemory(folder, syscalls));
}

const unproved = (folder: VbdFolder, which = 'a process'): XvdError =>
  new XvdError('FENCE_UNPROVED', `${which} of ${folder.path} has not ended after ${limits.fenceMs} ms: it may hang in a dead device`);

/**
 * Waits for the end of file on the pipe: every process that could begin a write has ended, whoever started it. One that a daemon had
 * just started when it was killed holds the pipe already and comes on record meanwhile: it is ended then.
 */
async function pipeEnded(folder: VbdFolder, until: number): Promise<void> {
  const fd = openSync(folder.alive, constants.O_RDONLY | constants.O_NONBLOCK);
  // Read before waiting: a pipe that had no writer when it was opened never tells of its end.
  if (readsEnd(fd)) return closeSync(fd);
  const pipe = new Socket({ fd, readable: true, writable: false });
  const ended = Promise.withResolvers<void>();
  const late = setTimeout(() => ended.reject(unproved(folder)), until - performance.now());
  const again = setInterval(() => {
    try {
      killRecorded(folder);
    } catch (error) {
      ended.reject(error);
    }
  }, AGAIN_MS);
  pipe.once('end', ended.resolve).once('error', ended.reject).resume();
  try {
    await ended.promise;
  } finally {
    clearTimeout(late);
    clearInterval(again);
    pipe.destroy();
  }
}

async function noneLeft(folder: VbdFolder, until: number, left: () => readonly number[]): Promise<void> {
  for (;;) {
    const [pid] = left();
    if (pid === undefined) return;
    if (performance.now() > until) throw unproved(folder, `process ${pid}`);
    await wait(1);
  }
}

function killRecorded(folder: VbdFolder): void {
  for (const pid of livingProcesses(folder)) kill(pid);
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/**
 * Ends the processes whose client has left, and waits for them: a client that reconnects sends again what it got no answer
 * to, and an older write that still hangs in its process must not land on top of that.
 */
export async function endLost(folder: VbdFolder, syscalls: Syscalls | null): Promise<void> {
  if (syscalls === null) return;
  const lost = new Set(livingProcesses(folder).filter((pid) => clientHasLeft(pid, syscalls)));
  for (const pid of lost) kill(pid);
  await noneLeft(folder, performance.now() + limits.fenceMs, () => {
    const living = livingProcesses(folder);
    // Of those that have ended already, what they had in flight may not have.
    const ended = withMemory(folder, syscalls).filter((pid) => !living.includes(pid));
    return [...living.filter((pid) => lost.has(pid)), ...ended];
  });
}

function clientHasLeft(pid: number, syscalls: Syscalls): boolean {
  const pidfd = syscalls.pidfdOpen(pid);
  if (pidfd < 0) return false;
  const socket = syscalls.pidfdGetfd(pidfd, 0);
  closeSync(pidfd);
  // A process that has let go of its socket already is on its way out.
  if (socket < 0) return true;
  try {
    // A client over TCP that has ended its side may seem half there; none goes on reading after that.
    return (syscalls.poll(socket, POLLRDHUP) & (POLLHUP | POLLRDHUP)) !== 0;
  } finally {
    closeSync(socket);
  }
}
