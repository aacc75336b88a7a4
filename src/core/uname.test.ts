import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isName } from './name.ts';
import { parseDiskRef, parseUname } from './uname.ts';

test('parseUname() splits at the first colon', () => {
  assert.deepEqual(parseUname('vd:5'), { kind: 'vd', ref: { by: 'id', id: 5 } });
  assert.deepEqual(parseUname('vd:web'), { kind: 'vd', ref: { by: 'name', name: 'web' } });
  assert.deepEqual(parseUname('phy:sda3'), { kind: 'phy', path: '/dev/sda3' });
  assert.deepEqual(parseUname('phy:/dev/disk/by-path/pci-0:1'), { kind: 'phy', path: '/dev/disk/by-path/pci-0:1' });
  assert.deepEqual(parseUname('phy:mapper/a'), { kind: 'phy', path: '/dev/mapper/a' });
});

test('parseUname() refuses unknown kinds and what names nothing (F18)', () => {
  for (const text of ['', '5', 'web', 'file:/a', 'VD:5', ':5', 'vd:', 'phy:', 'vd:-1', 'vd:1.5', 'vd:a b', 'phy:a\0b', 'vd:5:6'])
    assert.throws(() => parseUname(text), { code: 'VALUE_INVALID', exit: 2 }, JSON.stringify(text));
});

test('disk 0 is not found: it was the free pool of the original (F5)', () => {
  for (const text of ['vd:0', '0', 'vd:00', '99999999999999999999']) assert.throws(() => parseDiskRef(text), { code: 'DISK_NOT_FOUND', exit: 3 }, text);
});

test('parseDiskRef() takes an ID, a uname of a disk or a name, which are the same disk', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), (id) => {
      assert.deepEqual(parseDiskRef(String(id)), { by: 'id', id });
      assert.deepEqual(parseDiskRef(`vd:${id}`), { by: 'id', id });
    }),
  );
  fc.assert(
    fc.property(fc.stringMatching(/^[A-Za-z_][A-Za-z0-9._-]{0,20}$/).filter(isName), (name) => {
      assert.deepEqual(parseDiskRef(name), { by: 'name', name });
      assert.deepEqual(parseDiskRef(`vd:${name}`), { by: 'name', name });
    }),
  );
});
