// How a device is cut into extents: one MiB for the label at each end, extents in between, aligned to physical blocks.

import { XvdError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import { bytes, extents, MIB, roundDown, roundUp } from '../base/units.ts';
import type { Bytes, Extents } from '../base/units.ts';

export type Layout =
  | { readonly kind: 'laid-out'; readonly dataStartBytes: Bytes; readonly extentCount: Extents }
  | { readonly kind: 'too-small'; readonly largestExtentBytes: Bytes | null };

export function layoutDevice(facts: { readonly sizeBytes: Bytes; readonly physicalBlockBytes: number }, extentBytes: Bytes): Layout {
  const multiple = Math.max(4096, facts.physicalBlockBytes);
  if (extentBytes < limits.extentBytesMin || extentBytes > limits.extentBytesMax || extentBytes % multiple !== 0) {
    throw new XvdError(
      'VALUE_INVALID',
      `extents of ${extentBytes} bytes are not possible: a multiple of ${multiple} from ${limits.extentBytesMin} to ${limits.extentBytesMax} is`,
    );
  }
  const dataStartBytes = bytes(roundUp(MIB, multiple));
  const room = facts.sizeBytes - (facts.sizeBytes % 4096) - limits.labelBytes - dataStartBytes;
  if (room >= extentBytes) return { kind: 'laid-out', dataStartBytes, extentCount: extents(Math.floor(room / extentBytes)) };
  const largest = roundDown(Math.max(0, room), room >= MIB ? MIB : multiple);
  return { kind: 'too-small', largestExtentBytes: largest >= limits.extentBytesMin ? bytes(largest) : null };
}
