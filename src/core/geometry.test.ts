import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { limits } from '../base/limits.ts';
import { bytes, GIB, MIB } from '../base/units.ts';
import { layoutDevice } from './geometry.ts';

const KIB = 1024;

test('layoutDevice() leaves a MiB for the label at each end, and as many extents as fit between', () => {
  assert.deepEqual(layoutDevice({ sizeBytes: bytes(GIB), physicalBlockBytes: 512 }, bytes(64 * MIB)), {
    kind: 'laid-out',
    dataStartBytes: MIB,
    extentCount: 15,
  });
  assert.deepEqual(layoutDevice({ sizeBytes: bytes(66 * MIB), physicalBlockBytes: 4096 }, bytes(64 * MIB)), {
    kind: 'laid-out',
    dataStartBytes: MIB,
    extentCount: 1,
  });
});

test('layoutDevice() names the largest extent of a device that is too small, which then fits', () => {
  const facts = { sizeBytes: bytes(65 * MIB), physicalBlockBytes: 512 };
  const refused = layoutDevice(facts, bytes(64 * MIB));
  assert.deepEqual(refused, { kind: 'too-small', largestExtentBytes: 63 * MIB });
  assert.deepEqual(layoutDevice({ sizeBytes: bytes(2 * MIB), physicalBlockBytes: 512 }, bytes(64 * MIB)), { kind: 'too-small', largestExtentBytes: null });
});

test('layoutDevice() refuses extents that no device could have', () => {
  for (const extentBytes of [1, 4096, limits.extentBytesMin - 4096, MIB + 512, limits.extentBytesMax + 4096]) {
    assert.throws(() => layoutDevice({ sizeBytes: bytes(GIB), physicalBlockBytes: 512 }, bytes(extentBytes)), { code: 'VALUE_INVALID' }, String(extentBytes));
  }
  assert.throws(() => layoutDevice({ sizeBytes: bytes(GIB), physicalBlockBytes: 128 * KIB }, bytes(64 * KIB)), { code: 'VALUE_INVALID' });
});

test('extents are whole physical blocks, never touch a label, and no further one would fit', () => {
  const blocks = fc.constantFrom(512, 4096, 16 * KIB, 64 * KIB);
  const sizes = fc.integer({ min: 0, max: 4 * GIB });
  fc.assert(
    fc.property(sizes, blocks, fc.integer({ min: 1, max: 200 }), (size, physicalBlockBytes, times) => {
      const facts = { sizeBytes: bytes(size), physicalBlockBytes };
      const extentBytes = bytes(times * 64 * KIB);
      const layout = layoutDevice(facts, extentBytes);
      if (layout.kind === 'too-small') {
        const largest = layout.largestExtentBytes;
        if (largest !== null) assert.equal(layoutDevice(facts, largest).kind, 'laid-out');
        assert.ok(largest === null || largest < extentBytes);
        return;
      }
      assert.equal(layout.dataStartBytes % physicalBlockBytes, 0);
      assert.ok(layout.dataStartBytes >= limits.labelBytes);
      const end = layout.dataStartBytes + layout.extentCount * extentBytes;
      assert.ok(layout.extentCount > 0 && end <= size - limits.labelBytes);
      assert.ok(end + extentBytes > size - limits.labelBytes - 4096);
    }),
  );
});
