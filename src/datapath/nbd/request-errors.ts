// What can go wrong with a request, as the protocol's error; and the one thing that is no answer to any.

import { NBD_ERROR } from './wire/constants.ts';

/** The client does not take what we send. */
export class ClientGone extends Error {
  readonly code = 'EPIPE';
}

export class NotFast extends Error {}

const numbers: Readonly<Record<string, number>> = { EPERM: NBD_ERROR.EPERM, EROFS: NBD_ERROR.EPERM, ENOMEM: NBD_ERROR.ENOMEM, EINVAL: NBD_ERROR.EINVAL };

/** “No space” makes QEMU pause its guest, so a full filesystem under a pool file is an I/O error to the guest like any other. */
export function errorNumber(error: unknown): number {
  if (error instanceof NotFast) return NBD_ERROR.ENOTSUP;
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' ? (numbers[code] ?? NBD_ERROR.EIO) : NBD_ERROR.EIO;
}
