import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { bytes, SECTOR_BYTES } from '../../base/units.ts';
import type { Segment } from '../../core/types.ts';
import { generationOf, generationOfNode, isNameOf, nameOf, uuidOf } from './names.ts';
import { tableOf } from './table.ts';

const segment = (deviceIndex: number, startSector: number, sectors: number): Segment => ({
  deviceIndex,
  offsetBytes: bytes(startSector * SECTOR_BYTES),
  lengthBytes: bytes(sectors * SECTOR_BYTES),
});
const planOf = (segments: readonly Segment[]) => ({ segments, sizeBytes: bytes(segments.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0)) });

test('F1, F2: one linear target a run, in the order of the disk, on the device of the run; neighbours joined', () => {
  const plan = planOf([segment(1, 4096, 2048), segment(0, 63, 1), segment(0, 64, 7), segment(0, 0, 8), segment(1, 0, 16)]);
  assert.equal(tableOf(plan, ['8:3', '253:12']), '0 2048 linear 253:12 4096\n2048 8 linear 8:3 63\n2056 8 linear 8:3 0\n2064 16 linear 253:12 0\n');
});

test('every sector of the disk is where its segment says, whatever the segments are', () => {
  const anySegments = fc.array(fc.tuple(fc.nat(2), fc.nat(1000), fc.integer({ min: 1, max: 9 })), { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(anySegments, (list) => {
      const plan = planOf(list.map(([device, start, count]) => segment(device, start, count)));
      const wanted = list.flatMap(([device, start, count]) => Array.from({ length: count }, (_, index) => `7:${device} ${start + index}`));
      const found: string[] = [];
      for (const line of tableOf(plan, ['7:0', '7:1', '7:2']).trim().split('\n')) {
        const [at, count, kind, number, start] = line.split(' ');
        assert.deepEqual([Number(at), kind], [found.length, 'linear']);
        for (let index = 0; index < Number(count); index += 1) found.push(`${number} ${Number(start) + index}`);
      }
      assert.deepEqual(found, wanted);
    }),
  );
});

test('a device is named after its VBD, and belongs to one catalog', () => {
  const [one, other] = ['1a2b3c4d-0000-4000-8000-000000000001', '1a2b3c4d-0000-4000-8000-000000000002'];
  const uuid = uuidOf(one, 17);
  assert.equal(uuid, `XVD-${one}-17`);
  assert.equal(generationOf(uuid, one), 17);
  assert.equal(generationOf(uuid, other), null);
  for (const bad of [`${uuid}x`, uuidOf(one, 0), `XVD-${one}-`, 'LVM-17', '']) assert.equal(generationOf(bad, one), null, bad);
  const name = nameOf({ exportName: 'web01/xvda@17' }, one);
  assert.equal(name, 'xvd-web01-xvda@17.1a2b3c4d');
  assert.ok(isNameOf(name, 17, one) && !isNameOf(name, 7, one) && !isNameOf(name, 17, '2a2b3c4d'));
  const last = Number.MAX_SAFE_INTEGER;
  const ofGuest = (domain: string): string => nameOf({ exportName: `${domain}/xvdzz255@${last}` }, one);
  assert.equal(ofGuest('d'.repeat(64)), `xvd-${'d'.repeat(64)}-xvdzz255@${last}.1a2b3c4d`);
  for (const long of ['d'.repeat(400), 'ü@'.repeat(200)]) {
    assert.equal(Buffer.byteLength(ofGuest(long)), 127, 'as long as device-mapper takes');
    assert.ok(isNameOf(ofGuest(long), last, one) && !isNameOf(ofGuest(long), last - 1, one));
    assert.equal(generationOfNode(`/dev/mapper/${ofGuest(long)}`, one), last);
  }
});
