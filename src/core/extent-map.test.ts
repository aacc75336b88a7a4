import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { bytes } from '../base/units.ts';
import { eachPiece, makeMap, mapBytes } from './extent-map.ts';

const segment = fc.record({ deviceIndex: fc.nat(2), offsetBytes: fc.nat(1000).map(bytes), lengthBytes: fc.integer({ min: 1, max: 50 }).map(bytes) });

test('eachPiece() gives for every byte the place that walking the segments gives', () => {
  fc.assert(
    fc.property(fc.array(segment, { minLength: 1, maxLength: 8 }), fc.nat(), fc.nat(), (segments, a, b) => {
      const map = makeMap(segments);
      const offset = a % mapBytes(map);
      const length = b % (mapBytes(map) - offset + 1);
      const plain = segments.flatMap(({ deviceIndex, offsetBytes, lengthBytes }) =>
        Array.from({ length: lengthBytes }, (_, i) => `${deviceIndex}:${offsetBytes + i}`),
      );
      const found: string[] = [];
      eachPiece(map, offset, length, (device, deviceOffset, at, count) => {
        assert.equal(at, found.length);
        for (let i = 0; i < count; i += 1) found.push(`${device}:${deviceOffset + i}`);
      });
      assert.deepEqual(found, plain.slice(offset, offset + length));
    }),
  );
});
