// What all connections of a VBD and the daemon share, in a file that the connections map: which segments were written since
// they were last flushed: a flush on one connection covers what every other had written before it; how many are flushing just
// now; and whether a write-back failed.
//
// Two counters a segment: `written` goes up after each write, `synced` follows to the value that `written` had before a
// successful flush. A flush that finds them different flushes, even while another one does: neither returns too early.

const HEADER_BYTES = 1024;
const BOOKED_AT = 128;
const POISON_AT = 192;
export const FLUSHING_AT = 224;
/** No count that an older version kept in this place is ever this. */
const POISONED = 0x504f4953;

/** The first `length` have writes to flush: which segments, and how many writes there were when it was looked at. Good until dirty() is called again. */
export type Dirty = { readonly length: number; readonly segments: Uint32Array; readonly counts: Uint32Array };

export type SharedPage = {
  mark(segment: number): void;
  dirty(): Dirty;
  flushed(dirty: Dirty): void;
  /** Flushes that have begun and not ended; of a process that was killed in one, for good. */
  flushing(): number;
  beginFlush(): void;
  endFlush(): void;
  /** For good; it needs no space, no system call, and every connection sees it at once. */
  poison(): void;
  poisoned(): boolean;
  /** Two numbers for the clock of the rate limit. */
  readonly booked: BigInt64Array;
};

export const sharedPageBytes = (segments: number): number => Math.ceil((HEADER_BYTES + 8 * segments) / 4096) * 4096;

/** Over memory of sharedPageBytes(segments) bytes, shared or (one connection only) not. */
export function makeSharedPage(memory: ArrayBuffer, segments: number): SharedPage {
  const written = new Uint32Array(memory, HEADER_BYTES, segments);
  const poison = new Int32Array(memory, POISON_AT, 1);
  const flushing = new Int32Array(memory, FLUSHING_AT, 1);
  const synced = new Uint32Array(memory, HEADER_BYTES + 4 * segments, segments);
  const found = { length: 0, segments: new Uint32Array(segments), counts: new Uint32Array(segments) };
  return {
    mark(segment) {
      Atomics.add(written, segment, 1);
    },
    dirty() {
      found.length = 0;
      for (let segment = 0; segment < segments; segment += 1) {
        const count = Atomics.load(written, segment);
        if (count === Atomics.load(synced, segment)) continue;
        found.segments[found.length] = segment;
        found.counts[found.length] = count;
        found.length += 1;
      }
      return found;
    },
    flushed({ length, segments: list, counts }) {
      for (let index = 0; index < length; index += 1) Atomics.store(synced, list[index] ?? 0, counts[index] ?? 0);
    },
    flushing: () => Atomics.load(flushing, 0),
    beginFlush: () => void Atomics.add(flushing, 0, 1),
    endFlush: () => void Atomics.sub(flushing, 0, 1),
    poison: () => void Atomics.store(poison, 0, POISONED),
    poisoned: () => Atomics.load(poison, 0) === POISONED,
    booked: new BigInt64Array(memory, BOOKED_AT, 2),
  };
}
