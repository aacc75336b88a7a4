// How long the path of a Unix socket may be; more is refused before anything is made there, where the kernel would only say EINVAL.

import { XvdError } from './error.ts';
import { limits } from './limits.ts';

/** VALUE_INVALID when the path does not fit. */
export function requireSocketPath(path: string, fix = 'Set XVD_RUN to a shorter path.'): void {
  if (new TextEncoder().encode(path).length > limits.socketPathBytes)
    throw new XvdError('VALUE_INVALID', `the path of the socket is too long for Linux: ${path}`, { fix });
}
