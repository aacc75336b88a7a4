// The label at the head and the tail of a pool device: who the device is, and to which catalog it belongs.
// A header of 4096 bytes: magic, version, length and checksum, then JSON. What follows in the MiB is the ring of catalog
// copies. Whatever can't be read is no label: never trust bytes of a device.

import { bytes, MIB } from '../base/units.ts';
import type { Bytes } from '../base/units.ts';

export type Label = {
  readonly deviceUuid: string;
  readonly catalogId: string;
  readonly host: string;
  readonly pool: string;
  readonly sizeBytes: number;
  readonly extentBytes: number;
  readonly dataStartBytes: number;
  /** Both may lag behind the catalog, and are never ahead of it. */
  readonly commitNumber: number;
  readonly highestDiskId: number;
  /** Where in the label the newest copy of the catalog lies, from the label's start; left out = there is none. */
  readonly copyOffset?: number;
  readonly copyBytes?: number;
  /** Wall time of this writing: tells how far behind it may be, nothing else. */
  readonly writtenAtMs?: number;
};

export const LABEL_HEADER_BYTES = 4096;
const MAGIC = 'xvd pool device\n';
const VERSION = 1;
const PROLOGUE = MAGIC.length + 12;

/** Where the two labels of a device of that size lie. */
export function labelPlaces(sizeBytes: Bytes): readonly [head: Bytes, tail: Bytes] {
  return [bytes(0), bytes(sizeBytes - (sizeBytes % 4096) - MIB)];
}

export function encodeLabel(label: Label): Uint8Array {
  const text = new TextEncoder().encode(JSON.stringify(label));
  const header = new Uint8Array(LABEL_HEADER_BYTES);
  if (PROLOGUE + text.length > header.length) throw new RangeError('label is too long');
  const view = new DataView(header.buffer);
  header.set(new TextEncoder().encode(MAGIC), 0);
  view.setUint32(MAGIC.length, VERSION);
  view.setUint32(MAGIC.length + 4, text.length);
  view.setUint32(MAGIC.length + 8, crc32(text));
  header.set(text, PROLOGUE);
  return header;
}

/** null = no label, or a damaged one. */
export function decodeLabel(header: Uint8Array): Label | null {
  if (header.length < LABEL_HEADER_BYTES) return null;
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  if (new TextDecoder('latin1').decode(header.subarray(0, MAGIC.length)) !== MAGIC) return null;
  const length = view.getUint32(MAGIC.length + 4);
  if (view.getUint32(MAGIC.length) !== VERSION || length > LABEL_HEADER_BYTES - PROLOGUE) return null;
  const text = header.subarray(PROLOGUE, PROLOGUE + length);
  if (view.getUint32(MAGIC.length + 8) !== crc32(text)) return null;
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text));
    return isLabel(value) ? value : null;
  } catch {
    return null;
  }
}

function isLabel(value: unknown): value is Label {
  if (typeof value !== 'object' || value === null) return false;
  const row = value as Record<string, unknown>;
  const texts = [row['deviceUuid'], row['catalogId'], row['host'], row['pool']];
  const numbers = [row['sizeBytes'], row['extentBytes'], row['dataStartBytes'], row['commitNumber'], row['highestDiskId']];
  const copy = [row['copyOffset'] ?? 0, row['copyBytes'] ?? 0, row['writtenAtMs'] ?? 0];
  if (!copy.every((n) => Number.isSafeInteger(n) && (n as number) >= 0)) return false;
  return texts.every((text) => typeof text === 'string') && numbers.every((n) => Number.isSafeInteger(n) && (n as number) >= 0);
}

const crcOfByte = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  return crc;
});

/** CRC-32 of IEEE 802.3, reflected: the polynomial of zlib and gzip. */
export function crc32(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) crc = (crc >>> 8) ^ (crcOfByte[(crc ^ byte) & 0xff] ?? 0);
  return (crc ^ 0xffffffff) >>> 0;
}
