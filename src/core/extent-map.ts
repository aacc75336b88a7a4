// From an offset in a VBD to places on its devices, on every request: binary search over prefix sums.

import { invariant } from '../base/invariant.ts';
import type { Segment } from './types.ts';

export type ExtentMap = {
  readonly segments: readonly Segment[];
  /** Where each segment starts in the VBD, ascending; one more entry than segments: the end. */
  readonly starts: Float64Array;
};

export function makeMap(segments: readonly Segment[]): ExtentMap {
  const starts = new Float64Array(segments.length + 1);
  segments.forEach((segment, index) => {
    starts[index + 1] = (starts[index] ?? 0) + segment.lengthBytes;
  });
  return { segments, starts };
}

export const mapBytes = (map: ExtentMap): number => map.starts[map.segments.length] ?? 0;

/** Index of the segment that holds the offset. */
export function segmentAt(map: ExtentMap, offset: number): number {
  let low = 0;
  let high = map.segments.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if ((map.starts[middle] ?? 0) <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}

export type Visit = (deviceIndex: number, deviceOffset: number, at: number, length: number, segment: number) => void;

/** Visits the pieces of [offset, offset + length) in order; `at` counts from `offset`. */
export function eachPiece(map: ExtentMap, offset: number, length: number, visit: Visit): void {
  invariant(offset >= 0 && length >= 0 && offset + length <= mapBytes(map), 'a request lies inside its VBD');
  let index = segmentAt(map, offset);
  for (let at = 0; at < length; index += 1) {
    const segment = map.segments[index];
    invariant(segment !== undefined, 'segments follow each other without gap');
    const inside = offset + at - (map.starts[index] ?? 0);
    const piece = Math.min(length - at, segment.lengthBytes - inside);
    visit(segment.deviceIndex, segment.offsetBytes + inside, at, piece, index);
    at += piece;
  }
}
