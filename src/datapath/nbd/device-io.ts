// Whole reads and writes on a descriptor: a short one is repeated from where it ended.

import { readSync, writeSync } from 'node:fs';
import { XvdError } from '../../base/error.ts';

/** The end of a device inside a VBD is a device that shrank. */
export function readAll(fd: number, buffer: Buffer, at: number, length: number, position: number): void {
  for (let done = 0; done < length;) {
    const count = readSync(fd, buffer, at + done, length - done, position + done);
    if (count === 0) throw new XvdError('DEVICE_FAILED', 'the device ends inside the VBD');
    done += count;
  }
}

export function writeAll(fd: number, buffer: Buffer, at: number, length: number, position: number): void {
  for (let done = 0; done < length;) done += writeSync(fd, buffer, at + done, length - done, position + done);
}
