// Where a buffer lies in memory, for system calls that take addresses. Only buffers with memory of their own outside of
// V8's heap, which stay where they are; the last ones asked for are remembered, as a connection uses the same two all its life.

import { getSystemErrorName } from 'node:util';
import { invariant } from '../../base/invariant.ts';
import type { Syscalls } from '../../host/syscalls.ts';

/** V8 keeps the bytes of smaller arrays on its heap, and moves them. */
export const SMALLEST_BYTES = 1024;

export function makeAddresses(syscalls: Syscalls): (buffer: Buffer) => number {
  let last: Buffer | null = null;
  let before: Buffer | null = null;
  let lastAddress = 0;
  let beforeAddress = 0;
  return (buffer) => {
    if (buffer === last) return lastAddress;
    const known = buffer === before ? beforeAddress : lookUp(syscalls, buffer);
    before = last;
    beforeAddress = lastAddress;
    last = buffer;
    lastAddress = known;
    return known;
  };
}

function lookUp(syscalls: Syscalls, buffer: Buffer): number {
  invariant(buffer.length >= SMALLEST_BYTES, 'small buffers have no address that stays');
  return Number(syscalls.addressOf(buffer));
}

/** As Node throws it: with the error's name as its code. */
export function systemError(errno: number): Error {
  const code = getSystemErrorName(-errno);
  return Object.assign(new Error(`${code}: system call failed`), { code, errno: -errno });
}
