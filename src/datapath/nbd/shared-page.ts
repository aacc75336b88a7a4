// What all connections of a VBD and the daemon share, in a file that the connections map: which segments were written since
// they were last flushed (a flush on one connection covers what every other had written before it), and counters.
//
// Two counters a segment: `written` goes up after each write, `synced` follows to the value that `written` had before a
// successful flush. A flush that finds them different flushes, even while another one does: neither returns too early.

import type { DataPathStats } from '../datapath.ts';

const HEADER_BYTES = 1024;
const BOOKED_AT = 128;
const LATENCIES_AT = 256;
const KINDS = ['read', 'write', 'flush', 'other'] as const;
export type LatencyKind = (typeof KINDS)[number];
/** Bucket n counts what took less than 2^n microseconds and no less than half of that; the last one, all that took longer: 8 seconds. */
const BUCKETS = 24;
const COUNTERS = ['reads', 'writes', 'readBytes', 'writtenBytes', 'flushes', 'errors'] as const;
export type Counter = (typeof COUNTERS)[number];

/** A segment with writes to flush, and how many of them there were when it was looked at. */
export type Dirty = { readonly segment: number; readonly count: number };

export type SharedPage = {
  mark(segment: number): void;
  dirty(): readonly Dirty[];
  flushed(list: readonly Dirty[]): void;
  /** Others see it after publish(). */
  count(counter: Counter, by: number): void;
  /** What a request took, from when it was begun until it was answered. Others see it after publish(). */
  took(kind: LatencyKind, ms: number): void;
  /** Once for all requests that are answered together: an atomic addition of 64 bits makes three objects. */
  publish(): void;
  /** Two numbers for the clock of the rate limit. */
  readonly booked: BigInt64Array;
};

export const sharedPageBytes = (segments: number): number => Math.ceil((HEADER_BYTES + 8 * segments) / 4096) * 4096;

/** Over memory of sharedPageBytes(segments) bytes, shared or (one connection only) not. */
export function makeSharedPage(memory: ArrayBuffer, segments: number): SharedPage {
  const counters = new BigUint64Array(memory, 0, COUNTERS.length);
  const written = new Uint32Array(memory, HEADER_BYTES, segments);
  const synced = new Uint32Array(memory, HEADER_BYTES + 4 * segments, segments);
  const latencies = new BigUint64Array(memory, LATENCIES_AT, KINDS.length * BUCKETS);
  const counted = new Float64Array(COUNTERS.length);
  const taken = new Uint32Array(latencies.length);
  /** Those of `taken` that are not 0. */
  const buckets: number[] = [];
  const rowOf = Object.fromEntries(KINDS.map((kind, index) => [kind, index * BUCKETS])) as Record<LatencyKind, number>;
  const indexOf = Object.fromEntries(COUNTERS.map((name, index) => [name, index])) as Record<Counter, number>;
  return {
    mark(segment) {
      Atomics.add(written, segment, 1);
    },
    dirty() {
      const found: Dirty[] = [];
      for (let segment = 0; segment < segments; segment += 1) {
        const count = Atomics.load(written, segment);
        if (count !== Atomics.load(synced, segment)) found.push({ segment, count });
      }
      return found;
    },
    flushed(list) {
      for (const { segment, count } of list) Atomics.store(synced, segment, count);
    },
    count(counter, by) {
      counted[indexOf[counter]] = (counted[indexOf[counter]] ?? 0) + by;
    },
    took(kind, ms) {
      const bucket = rowOf[kind] + Math.min(BUCKETS - 1, 32 - Math.clz32(ms * 1000));
      const count = taken[bucket] ?? 0;
      if (count === 0) buckets.push(bucket);
      taken[bucket] = count + 1;
    },
    publish() {
      for (let index = 0; index < counted.length; index += 1) {
        const by = counted[index] ?? 0;
        if (by === 0) continue;
        Atomics.add(counters, index, BigInt(by));
        counted[index] = 0;
      }
      for (const bucket of buckets) {
        Atomics.add(latencies, bucket, BigInt(taken[bucket] ?? 0));
        taken[bucket] = 0;
      }
      buckets.length = 0;
    },
    booked: new BigInt64Array(memory, BOOKED_AT, 2),
  };
}

/** Counters and latencies out of the first bytes of the file. */
export function countersOf(head: Uint8Array, connections: number): DataPathStats {
  const values = new BigUint64Array(head.slice(0, 8 * COUNTERS.length).buffer);
  const counters = Object.fromEntries(COUNTERS.map((name, index) => [name, Number(values[index] ?? 0n)])) as Record<Counter, number>;
  const counts = [...new BigUint64Array(head.slice(LATENCIES_AT, COUNTERS_BYTES).buffer)].map(Number);
  const latencies = Object.fromEntries(KINDS.map((kind, row) => [kind, counts.slice(row * BUCKETS, (row + 1) * BUCKETS)]));
  return { connections, ...counters, latencies };
}

export const COUNTERS_BYTES = LATENCIES_AT + 8 * KINDS.length * BUCKETS;
