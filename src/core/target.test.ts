// The whole rule is held against Xen's own code in test/golden/target-names.test.ts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseTarget, targetName } from './target.ts';

const known = {
  xvda: 51712,
  xvdb1: 51729,
  xvdp15: 51967,
  xvda16: 268435472,
  xvdq: 268439552,
  xvdaa: 268442112,
  xvdaa255: 268442367,
  hda: 768,
  hdb: 832,
  hdc: 5632,
  sda: 2048,
  sdp15: 2303,
};

test('parseTarget() gives the numbers of Xen, with and without /dev/', () => {
  for (const [name, vdev] of Object.entries(known)) {
    assert.deepEqual(parseTarget(name), { target: `/dev/${name}`, vdev });
    assert.deepEqual(parseTarget(`/dev/${name}`), { target: `/dev/${name}`, vdev });
    assert.equal(targetName(vdev), `/dev/${name}`);
  }
});

test('parseTarget() refuses what Xen does not number, and what its tools do not take', () => {
  const refused = [
    'hde',
    'sdq',
    'xvda0',
    'xvda01',
    'xvdaa256',
    'xvdA',
    'xvd',
    'hd',
    'sd',
    '',
    'vda',
    'xvda+1',
    'xvda 1',
    'xvda\n',
    'd1p2',
    '51712',
    'hda64',
    'sda16',
    'xvdbgqcw',
    '/dev/',
    '/dev/mapper/xvda',
    '//dev/xvda',
  ];
  for (const text of refused) assert.throws(() => parseTarget(text), { code: 'VALUE_INVALID', exit: 2 }, JSON.stringify(text));
});

test('two names have one number only when they are one target', () => {
  const name = fc
    .tuple(fc.constantFrom('xvd', 'hd', 'sd'), fc.stringMatching(/^[a-d]{1,2}$/), fc.constantFrom('', '1', '2', '15', '16'))
    .map((parts) => parts.join(''));
  const parsed = (text: string): number | null => {
    try {
      return parseTarget(text).vdev;
    } catch {
      return null;
    }
  };
  fc.assert(
    fc.property(name, name, (one, other) => {
      const [a, b] = [parsed(one), parsed(other)];
      if (a !== null && b !== null) assert.equal(a === b, one === other);
    }),
  );
});

test('targetName() has no name for a number that is no target', () => {
  for (const vdev of [0, 1, 259 << 8, (3 << 8) | 128, (22 << 8) | 200]) assert.equal(targetName(vdev), null, String(vdev));
});
