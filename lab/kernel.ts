// Takes the kernel itself out of a bzImage: under emulation, unpacking an xz kernel costs seconds at every boot, and more in Xen.
// The offsets are those of the kernel's boot protocol (Documentation/arch/x86/boot.rst).

import { spawnSync } from 'node:child_process';

const setupSectors = 0x1f1;
const payloadOffset = 0x248;
const payloadLength = 0x24c;
/** The payload ends with the size of what is unpacked, which is not part of the compressed stream. */
const sizeBytes = 4;

export function uncompressedKernel(image: Buffer): Buffer {
  const start = (image.readUInt8(setupSectors) + 1) * 512 + image.readUInt32LE(payloadOffset);
  const payload = image.subarray(start, start + image.readUInt32LE(payloadLength) - sizeBytes);
  const { status, stdout, stderr } = spawnSync('xz', ['-dc', '--single-stream'], { input: payload, maxBuffer: 512 * 1024 * 1024 });
  if (status !== 0) throw new Error(`the kernel can't be unpacked: ${stderr.toString()}`);
  return stdout;
}
