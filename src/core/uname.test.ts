import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { XvdError } from '../base/error.ts';
import { isName, parseLabel, requireName } from './name.ts';
import { parseDiskRef, parseUname } from './uname.ts';

const refused = (body: () => unknown, code: string, says: string): void => assert.throws(body, (error) => error instanceof XvdError && error.code === code, says);

test('parseUname() splits at the first colon', () => {
  assert.deepEqual(parseUname('vd:5'), { kind: 'vd', ref: { by: 'id', id: 5 } });
  assert.deepEqual(parseUname('vd:web'), { kind: 'vd', ref: { by: 'name', name: 'web' } });
  assert.deepEqual(parseUname('phy:sda3'), { kind: 'phy', path: '/dev/sda3' });
  assert.deepEqual(parseUname('phy:/dev/disk/by-path/pci-0:1'), { kind: 'phy', path: '/dev/disk/by-path/pci-0:1' });
});

test('F18: parseUname() refuses unknown kinds and what is no disk', () => {
  for (const text of ['', ':', 'vd', 'vd:', 'phy:', 'phy:a\0b', 'file:x', 'VD:5', '5', 'vd:-1', 'vd:1.5', 'vd:vd:5', 'vd: 5', "vd:5' OR 1", 'vd:5x', ' vd:5']) refused(() => parseUname(text), 'VALUE_INVALID', text);
});

test('F5: disk 0 is nobody', () => {
  for (const text of ['0', 'vd:0', '000', '99999999999999999999']) refused(() => parseDiskRef(text), 'DISK_NOT_FOUND', text);
  assert.deepEqual(parseDiskRef('vd:7'), parseDiskRef('7'));
});

test('names: a letter or _, then up to 63 of letters, digits, dot, dash, _', () => {
  for (const text of ['a', '_', 'web-01.x_y', 'A'.repeat(64)]) assert.equal(requireName(text, 'disk'), text);
  for (const text of ['', '1a', '-a', '.a', 'a b', 'a/b', 'a:b', 'é', 'a\n', 'a\0', 'A'.repeat(65), '__proto__ ']) refused(() => requireName(text, 'disk'), 'VALUE_INVALID', text);
  fc.assert(fc.property(fc.string(), (text) => isName(text) === (text.length <= 64 && /^[A-Za-z_][\w.-]*$/.test(text) && !text.includes('\n'))));
});

test('parseLabel() splits at the first =', () => {
  assert.deepEqual(parseLabel('k=v=w'), { key: 'k', value: 'v=w' });
  assert.deepEqual(parseLabel('k='), { key: 'k', value: '' });
  for (const text of ['', '=v', 'k', '1=v', `k=${'v'.repeat(257)}`]) refused(() => parseLabel(text), 'VALUE_INVALID', text);
});
