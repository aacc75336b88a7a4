// Starts a connection process whose VBD is not known yet: every place that a VBD's descriptors will need is taken by nothing, and
// behind them lies a socket to tell it by.

import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import type { Socket } from 'node:net';
import { CONTROL_FD } from './spare-descriptors.ts';

/** Memory goes back when it is not used any more: a young generation of V8 that is small and does not grow, one heap of the C library, which would else keep what large
 *  requests and Maglev's compilations had (decision 0035).
 *  One of V8's optimising compilers is enough: small requests are fastest with it alone, and its code takes less to make (decision 0034). */
export const NODE_OPTIONS = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=1', '--no-turbofan', '--optimize-for-size', '--expose-gc'];
/** Pieces from 32 KiB on are the kernel's and go back to it, and so does the heap's end, but for 16 KiB. */
export const ENVIRONMENT = { MALLOC_ARENA_MAX: '1', MALLOC_MMAP_THRESHOLD_: '32768', MALLOC_TRIM_THRESHOLD_: '32768', MALLOC_TOP_PAD_: '16384' };
/** Behind TLS each part that comes or goes is in a piece of its own, of 64 KiB mostly. */
const TLS_ENVIRONMENT = { MALLOC_ARENA_MAX: '1', MALLOC_MMAP_THRESHOLD_: '131072' };

export type StartedProcess = { readonly child: ChildProcess; readonly control: Socket };

/** `client`: its socket, where it is known already, as it is over TCP. */
export function startUntold(nodePath: string, args: readonly string[], client: Socket | null, told: Readonly<Record<string, string>> = {}): StartedProcess {
  // Open, so that Node keeps away from these numbers.
  const nothing = openSync('/dev/null', 'r+');
  const places = Array.from({ length: CONTROL_FD }, (_, place) => (place === 0 && client !== null ? client : nothing));
  try {
    const env = { ...(client === null ? ENVIRONMENT : TLS_ENVIRONMENT), ...told };
    const child = spawn(nodePath, [...NODE_OPTIONS, ...args], { stdio: [...places, 'pipe'], detached: true, env, cwd: '/' });
    const control = child.stdio[CONTROL_FD] as Socket;
    control.on('error', () => undefined);
    child.unref();
    return { child, control };
  } finally {
    closeSync(nothing);
  }
}

/** The descriptor of a socket of Node's. */
export function descriptorOf(socket: Socket): number {
  const { _handle: handle } = socket as unknown as { readonly _handle: { readonly fd: number } | null };
  return handle?.fd ?? -1;
}
