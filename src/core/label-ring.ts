// The ring behind the header of a label: copies of the catalog, compressed, each with its own checksum, in slots that a new
// copy fills in turn, never the newest one's. So a copy that was cut off by a crash leaves the one before it readable.

import { limits } from '../base/limits.ts';
import { roundUp } from '../base/units.ts';
import { crc32, LABEL_HEADER_BYTES } from './label.ts';

/** Compression, from the composition root. */
export type Packer = {
  readonly pack: (data: Uint8Array) => Uint8Array;
  /** Throws when the data is damaged or would grow beyond the limit. */
  readonly unpack: (data: Uint8Array, limitBytes: number) => Uint8Array;
};

/** Bytes within a label. */
export type CopyPlace = { readonly offset: number; readonly bytes: number };
export type RingRecord = { readonly commitNumber: number; readonly payload: Uint8Array };

const BLOCK = LABEL_HEADER_BYTES;
const RING_BLOCKS = limits.labelBytes / BLOCK - 1;
/** Small catalogs have many copies, large ones at least two. */
const SLOT_COUNTS = [31, 15, 7, 3, 2];
const MAGIC = new TextEncoder().encode('xvd catalog copy');
const VERSION = 1;
/** Magic, version, length, commit number in two halves, checksum of the payload, checksum of what stands before it. */
const HEAD_BYTES = MAGIC.length + 24;

export function encodeRecord({ commitNumber, payload }: RingRecord): Uint8Array {
  const record = new Uint8Array(roundUp(HEAD_BYTES + payload.length, BLOCK));
  const view = new DataView(record.buffer);
  record.set(MAGIC, 0);
  const numbers = [VERSION, payload.length, Math.floor(commitNumber / 2 ** 32), commitNumber % 2 ** 32, crc32(payload)];
  for (const [index, number] of numbers.entries()) view.setUint32(MAGIC.length + index * 4, number);
  view.setUint32(HEAD_BYTES - 4, crc32(record.subarray(0, HEAD_BYTES - 4)));
  record.set(payload, HEAD_BYTES);
  return record;
}

/** Where a record of that size goes; null when it is too large for any ring. */
export function nextPlace(recordBytes: number, newest: CopyPlace | null): CopyPlace | null {
  const count = SLOT_COUNTS.find((slots) => Math.floor(RING_BLOCKS / slots) * BLOCK >= recordBytes);
  if (count === undefined) return null;
  const slotBytes = Math.floor(RING_BLOCKS / count) * BLOCK;
  const place = (slot: number): CopyPlace => ({ offset: BLOCK + slot * slotBytes, bytes: recordBytes });
  if (newest === null) return place(0);
  const before = Math.floor(Math.max(0, newest.offset - BLOCK) / slotBytes);
  for (let step = 1; step <= count; step += 1) {
    const slot = (before + step) % count;
    const start = BLOCK + slot * slotBytes;
    if (start + slotBytes <= newest.offset || newest.offset + newest.bytes <= start) return place(slot);
  }
  return place(0);
}

/** Every whole record of a label of 1 MiB, newest first. */
export function readRing(label: Uint8Array): RingRecord[] {
  const found: RingRecord[] = [];
  for (let offset = BLOCK; offset + BLOCK <= label.length; offset += BLOCK) {
    const record = decodeRecord(label.subarray(offset));
    if (record !== null) found.push(record);
  }
  return found.toSorted((a, b) => b.commitNumber - a.commitNumber);
}

function decodeRecord(bytes: Uint8Array): RingRecord | null {
  if (bytes.length < HEAD_BYTES || MAGIC.some((byte, index) => bytes[index] !== byte)) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(HEAD_BYTES - 4) !== crc32(bytes.subarray(0, HEAD_BYTES - 4))) return null;
  const [version = 0, length = 0, high = 0, low = 0, checksum = 0] = [0, 1, 2, 3, 4].map((index) => view.getUint32(MAGIC.length + index * 4));
  if (version !== VERSION || HEAD_BYTES + length > bytes.length) return null;
  const payload = bytes.subarray(HEAD_BYTES, HEAD_BYTES + length);
  return crc32(payload) === checksum ? { commitNumber: high * 2 ** 32 + low, payload } : null;
}
