// What the connections of a VBD count, in a file that all of them map. Each process adds in a slot of its own, by plain stores that
// others see at once: an atomic addition of 64 bits makes three objects, and 800 bytes of them a request were a collection of
// garbage every 1,300 requests, which was the 99.9th percentile of their latency. A process that comes later goes on in a slot
// where the last one left it, so nothing is ever taken together.

import { closeSync, existsSync, fstatSync, openSync } from 'node:fs';
import { limits } from '../../base/limits.ts';
import type { Syscalls } from '../../host/syscalls.ts';

const COUNTERS = ['reads', 'writes', 'readBytes', 'writtenBytes', 'flushes', 'errors'] as const;
export type Counter = (typeof COUNTERS)[number];
const LATENCIES_AT = 8;
const KINDS = ['read', 'write', 'flush', 'other'] as const;
export type LatencyKind = (typeof KINDS)[number];
/** Bucket n counts what took less than 2^n microseconds and no less than half of that; the last one, all that took longer: 8 seconds. */
const BUCKETS = 24;

const SLOT_NUMBERS = LATENCIES_AT + KINDS.length * BUCKETS;
const SLOT_BYTES = SLOT_NUMBERS * Float64Array.BYTES_PER_ELEMENT;
/** More than connections can be open: a process that is ended has its slot until its memory is gone. Of who comes when all are taken nothing is counted. */
const SLOTS = limits.nbdConnectionsPerVbd + 3;
export const COUNTERS_BYTES = SLOTS * SLOT_BYTES;

export type Counters = {
  count(counter: Counter, by: number): void;
  /** Microseconds, from when a request was begun until it was answered. */
  took(kind: LatencyKind, us: number): void;
};

/** In the file, in a slot that no other process has; where there is no file to share, for nobody. */
export function openCounters(path: string, syscalls: Syscalls | null): Counters {
  const memory = syscalls === null ? null : ownSlot(path, syscalls);
  return memory ?? countersForNobody();
}

export const countersForNobody = (): Counters => makeCounters(new ArrayBuffer(SLOT_BYTES), 0);

/** The lock lasts as long as the mapping: until the process has ended, or executes another program. null: counting ends no connection. */
function ownSlot(path: string, syscalls: Syscalls): Counters | null {
  // A daemon of an earlier version made none.
  if (!existsSync(path)) return null;
  const fd = openSync(path, 'r+');
  try {
    if (fstatSync(fd).size < COUNTERS_BYTES) return null;
    for (let slot = 0; slot < SLOTS; slot += 1) {
      if (syscalls.lockByte(fd, slot) !== 0) continue;
      const memory = syscalls.mapShared(fd, COUNTERS_BYTES);
      return memory === null ? null : makeCounters(memory, slot);
    }
    return null;
  } finally {
    closeSync(fd);
  }
}

/** Over memory that holds the slot. */
export function makeCounters(memory: ArrayBuffer, slot: number): Counters {
  const numbers = new Float64Array(memory, slot * SLOT_BYTES, SLOT_NUMBERS);
  const placeOf = Object.fromEntries(COUNTERS.map((name, index) => [name, index])) as Record<Counter, number>;
  const rowOf = Object.fromEntries(KINDS.map((kind, index) => [kind, LATENCIES_AT + index * BUCKETS])) as Record<LatencyKind, number>;
  const add = (at: number, by: number): void => {
    numbers[at] = (numbers[at] ?? 0) + by;
  };
  return {
    count: (counter, by) => add(placeOf[counter], by),
    took: (kind, us) => add(rowOf[kind] + Math.min(BUCKETS - 1, 32 - Math.clz32(us)), 1),
  };
}

const ASKED = (['reads', 'writes', 'flushes'] as const).map((name) => COUNTERS.indexOf(name));

/** Reads, writes and flushes together, in what is there of the file's numbers. Leaves nothing to be collected: it is asked every second, of each VBD. */
export function requestsIn(numbers: Float64Array, length: number): number {
  let sum = 0;
  for (let slot = 0; slot < length; slot += SLOT_NUMBERS) for (const at of ASKED) sum += slot + at < length ? (numbers[slot + at] ?? 0) : 0;
  return sum;
}

export type Counted = Readonly<Record<Counter, number>> & { readonly latencies: Readonly<Record<string, readonly number[]>> };

/** The sums over all slots of the file's bytes. */
export function countersOf(file: Uint8Array): Counted {
  const sums = new Float64Array(SLOT_NUMBERS);
  const numbers = new Float64Array(file.buffer, file.byteOffset, Math.floor(file.byteLength / Float64Array.BYTES_PER_ELEMENT));
  for (const [index, number] of numbers.entries()) sums[index % SLOT_NUMBERS] = (sums[index % SLOT_NUMBERS] ?? 0) + number;
  const counters = Object.fromEntries(COUNTERS.map((name, index) => [name, sums[index] ?? 0])) as Record<Counter, number>;
  const row = (index: number): number[] => [...sums.subarray(LATENCIES_AT + index * BUCKETS, LATENCIES_AT + (index + 1) * BUCKETS)];
  return { ...counters, latencies: Object.fromEntries(KINDS.map((kind, index) => [kind, row(index)])) };
}
