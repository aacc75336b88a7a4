// Bytes of a device, around the page cache: aligned direct I/O where there is any.

import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { XvdError } from '../../base/error.ts';
import { roundDown, roundUp } from '../../base/units.ts';
import type { Bytes } from '../../base/units.ts';
import type { PlanDevice } from '../../core/types.ts';
import type { ByteRange } from '../host.ts';
import { alignedBuffer, dropRange, writeBackRange } from './kernel-calls.ts';
import { withDevice } from './open-device.ts';
import type { OpenDevice } from './open-device.ts';
import type { SysRoots } from './sys-block.ts';

const ALIGN_BYTES = 4096;

export function readDevice(roots: SysRoots, device: PlanDevice, range: ByteRange): Promise<Uint8Array> {
  return withDevice(roots, device, constants.O_RDONLY | constants.O_DIRECT, (opened) => readAround(opened, device.path, range));
}

/** What the device itself holds. */
export async function readAround({ handle, direct }: OpenDevice, path: string, { offsetBytes, lengthBytes }: ByteRange): Promise<Uint8Array> {
  const start = roundDown(offsetBytes, ALIGN_BYTES);
  const size = roundUp(offsetBytes + lengthBytes, ALIGN_BYTES) - start;
  const buffer = alignedBuffer(size);
  if (!direct) {
    await writeBackRange(handle.fd, start, size);
    await dropRange(handle.fd, start, size);
  }
  const bytesRead = await readFully(handle, buffer, start);
  const skip = offsetBytes - start;
  if (bytesRead < skip + lengthBytes) throw new XvdError('DEVICE_FAILED', `${path} ends before byte ${offsetBytes + lengthBytes}`);
  return buffer.subarray(skip, skip + lengthBytes);
}

async function readFully(handle: FileHandle, buffer: Buffer, position: number): Promise<number> {
  let done = 0;
  while (done < buffer.length) {
    const { bytesRead } = await handle.read(buffer, done, buffer.length - done, position + done);
    done += bytesRead;
    if (bytesRead === 0 || done % ALIGN_BYTES !== 0) break; // the end: direct I/O stops short only there
  }
  return done;
}

export async function writeDevice(roots: SysRoots, device: PlanDevice, offsetBytes: Bytes, data: Uint8Array): Promise<void> {
  const aligned = offsetBytes % ALIGN_BYTES === 0 && data.length % ALIGN_BYTES === 0;
  const flags = constants.O_RDWR | constants.O_DSYNC | (aligned ? constants.O_DIRECT : 0);
  if (offsetBytes + data.length > device.sizeBytes) throw new XvdError('DEVICE_FAILED', `${device.path} ends before byte ${offsetBytes + data.length}`);
  await withDevice(roots, device, flags, async (opened) => {
    await writeFully(opened.handle, data, offsetBytes);
    if (!opened.direct) await dropRange(opened.handle.fd, offsetBytes, data.length);
  });
}

/** Data is copied to where direct I/O can take it from. */
export async function writeFully(handle: FileHandle, data: Uint8Array, position: number): Promise<void> {
  const buffer = alignedBuffer(data.length);
  buffer.set(data);
  for (let done = 0; done < buffer.length;) {
    const { bytesWritten } = await handle.write(buffer, done, buffer.length - done, position + done);
    done += bytesWritten;
  }
}
