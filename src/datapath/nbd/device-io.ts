// Whole reads and writes on a descriptor: a short one is repeated from where it ended. By the system call itself where it can be
// had: Node's own checks and wrappers are a third of what a cached read of 4 KiB costs (1.8 against 1.1 µs).

import { readSync, writeSync } from 'node:fs';
import { XvdError } from '../../base/error.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { makeAddresses, systemError } from './memory-address.ts';

export type DeviceIo = {
  /** The end of a device inside a VBD is a device that shrank. */
  readAll(fd: number, buffer: Buffer, at: number, length: number, position: number): void;
  writeAll(fd: number, buffer: Buffer, at: number, length: number, position: number): void;
};

type Transfer = (fd: number, buffer: Buffer, at: number, length: number, position: number) => number;

export function makeDeviceIo(syscalls: Syscalls | null): DeviceIo {
  const read = syscalls === null ? readSync : direct(syscalls, syscalls.readAt);
  const write = syscalls === null ? writeSync : direct(syscalls, syscalls.writeAt);
  return {
    readAll(fd, buffer, at, length, position) {
      for (let done = 0; done < length;) {
        const count = read(fd, buffer, at + done, length - done, position + done);
        if (count === 0) throw new XvdError('DEVICE_FAILED', 'the device ends inside the VBD');
        done += count;
      }
    },
    writeAll(fd, buffer, at, length, position) {
      for (let done = 0; done < length;) done += write(fd, buffer, at + done, length - done, position + done);
    },
  };
}

function direct(syscalls: Syscalls, call: (fd: number, address: number, length: number, position: number) => number): Transfer {
  const addressOf = makeAddresses(syscalls);
  return (fd, buffer, at, length, position) => {
    const result = call(fd, addressOf(buffer) + at, length, position);
    if (result < 0) throw systemError(-result);
    return result;
  };
}
