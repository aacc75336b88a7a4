// Which segments of a VBD were written since they were last flushed, counted in a file that all connections of the VBD map:
// a flush on one connection covers what every other had written before it. Also carries the poison of a failed write-back.
//
// Two counters a segment: `written` goes up after each write, `synced` follows to the value that `written` had before a
// successful sync. A flush that finds them different syncs, even while another flush does: neither returns too early.

const HEADER = 16;

export type WrittenPage = {
  mark(segment: number): void;
  /** Calls sync for each segment that was written and not yet synced; what sync throws leaves it unsynced. */
  flushEach(sync: (segment: number) => void): void;
  poison(): void;
  poisoned(): boolean;
};

export const writtenPageBytes = (segments: number): number => Math.ceil((HEADER + 8 * segments) / 4096) * 4096;

/** Over memory of writtenPageBytes(segments) bytes, shared or (one connection only) not. */
export function makeWrittenPage(memory: ArrayBuffer, segments: number): WrittenPage {
  const header = new Uint32Array(memory, 0, HEADER / 4);
  const written = new Uint32Array(memory, HEADER, segments);
  const synced = new Uint32Array(memory, HEADER + 4 * segments, segments);
  return {
    mark(segment) {
      Atomics.add(written, segment, 1);
    },
    flushEach(sync) {
      for (let segment = 0; segment < segments; segment += 1) {
        const count = Atomics.load(written, segment);
        if (count === Atomics.load(synced, segment)) continue;
        sync(segment);
        Atomics.store(synced, segment, count);
      }
    },
    poison() {
      Atomics.store(header, 0, 1);
    },
    poisoned: () => Atomics.load(header, 0) !== 0,
  };
}
