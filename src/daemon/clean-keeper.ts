// Keeps the reserve of wiped space by a process of its own, at the lowest priority: what the daemon itself has to do with devices,
// such as a fence, never waits behind a wipe. It ends with the daemon, however that ends; being a wiper like any other, what it
// was at is fenced by whoever comes next.

import { spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import type { CleanWork } from './clean-wiper.ts';
import type { Log } from './compose.ts';

/** A process that ends by itself is not started again at once. */
const AFTER_END_MS = 60_000;

export async function keepCleanUntil({ stateFolder, runFolder, wipeBytesPerSecond, reserveBytes }: CleanWork, until: AbortSignal, log: Log): Promise<void> {
  const work: CleanWork = { stateFolder, runFolder, wipeBytesPerSecond, reserveBytes };
  while (!until.aborted) {
    const end = await runWiper(work, until);
    if (until.aborted) return;
    log('clean-keeper.ended', { reason: end });
    await delay(AFTER_END_MS, undefined, { signal: until }).catch(() => undefined);
  }
}

function runWiper(work: CleanWork, until: AbortSignal): Promise<string> {
  const program = new URL('./clean-wiper.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, JSON.stringify(work)], { stdio: ['pipe', 'ignore', 'inherit'] });
  // The end of its input is the end of the daemon, or of its patience.
  const stop = (): void => void child.stdin.end();
  child.stdin.on('error', () => undefined);
  until.addEventListener('abort', stop, { once: true });
  return new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (status, signal) => resolve(`status ${status ?? signal}`));
  }).finally(() => until.removeEventListener('abort', stop));
}
