// Direct I/O wants aligned memory, and the socket's buffers are not: data goes through one aligned buffer a connection.

import type { DeviceIo } from './device-io.ts';

const STAGING_BYTES = 512 * 1024;

export type Staging = {
  read(fd: number, buffer: Buffer, at: number, length: number, position: number): void;
  write(fd: number, buffer: Buffer, at: number, length: number, position: number): void;
};

export function makeStaging(memory: Uint8Array, { readAll, writeAll }: DeviceIo): Staging {
  const staging = Buffer.from(memory.buffer, memory.byteOffset, memory.byteLength);
  const eachPart = (length: number, visit: (done: number, part: number) => void): void => {
    for (let done = 0; done < length; done += staging.length) visit(done, Math.min(staging.length, length - done));
  };
  return {
    read(fd, buffer, at, length, position) {
      eachPart(length, (done, part) => {
        readAll(fd, staging, 0, part, position + done);
        staging.copy(buffer, at + done, 0, part);
      });
    },
    write(fd, buffer, at, length, position) {
      eachPart(length, (done, part) => {
        buffer.copy(staging, 0, at + done, at + done + part);
        writeAll(fd, staging, 0, part, position + done);
      });
    },
  };
}

export { STAGING_BYTES };
