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
  const read = syscalls === null ? readSync : readsOf(syscalls);
  const write = syscalls === null ? writeSync : writesOf(syscalls);
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

// Each way has a function of its own: one for both is compiled for either call, and thrown away when it meets the other.

function readsOf(syscalls: Syscalls): Transfer {
  const addressOf = makeAddresses(syscalls);
  const { readAt } = syscalls;
  return (fd, buffer, at, length, position) => transferred(readAt(fd, addressOf(buffer) + at, length, position));
}

function writesOf(syscalls: Syscalls): Transfer {
  const addressOf = makeAddresses(syscalls);
  const { writeAt } = syscalls;
  return (fd, buffer, at, length, position) => transferred(writeAt(fd, addressOf(buffer) + at, length, position));
}

function transferred(result: number): number {
  if (result < 0) throw systemError(-result);
  return result;
}
