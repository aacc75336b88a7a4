import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32 as zlibCrc32 } from 'node:zlib';
import fc from 'fast-check';
import { bytes, MIB } from '../base/units.ts';
import { crc32, decodeLabel, encodeLabel, labelPlaces, LABEL_HEADER_BYTES } from './label.ts';
import type { Label } from './label.ts';

const label: Label = {
  deviceUuid: 'f4a7c6de-0000-4000-8000-000000000001',
  catalogId: 'f4a7c6de-0000-4000-8000-000000000002',
  host: 'h1',
  pool: 'default',
  sizeBytes: 10 * MIB,
  extentBytes: MIB,
  dataStartBytes: MIB,
  commitNumber: 7,
  highestDiskId: 3,
};

test('a label reads back as it was written', () => {
  assert.deepEqual(decodeLabel(encodeLabel(label)), label);
});

test('any changed byte of the written part makes it no label', () => {
  const written = 28 + JSON.stringify(label).length;
  fc.assert(
    fc.property(fc.nat(written - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const header = encodeLabel(label);
      header[at] = (header[at] ?? 0) ^ flip;
      assert.equal(decodeLabel(header), null);
    }),
  );
});

test('bytes of a device are never trusted: garbage and short reads are no label', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: LABEL_HEADER_BYTES + 8 }), (data) => decodeLabel(data) === null));
});

test('crc32() agrees with zlib', () => {
  fc.assert(fc.property(fc.uint8Array(), (data) => crc32(data) === zlibCrc32(data)));
});

test('labelPlaces() keeps one MiB at the head and one at the tail, aligned', () => {
  assert.deepEqual(labelPlaces(bytes(10 * MIB)), [0, 9 * MIB]);
  const [, tail] = labelPlaces(bytes(10 * MIB + 512));
  assert.equal(tail % 4096, 0);
});
