import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limits } from '../base/limits.ts';
import { isName, parseLabel, requireName } from './name.ts';

test('a name starts with a letter or _ and has up to 64 letters, digits, dots, dashes or underscores', () => {
  for (const name of ['a', '_', 'web01', 'A.b-c_d', 'x'.repeat(limits.nameLength)]) {
    assert.ok(isName(name), name);
    assert.equal(requireName(name, 'disk'), name);
  }
  for (const name of ['', '0', '1a', '-a', '.a', 'a b', 'a/b', 'a:b', 'é', 'a\n', '..', 'x'.repeat(limits.nameLength + 1)]) {
    assert.ok(!isName(name), JSON.stringify(name));
    assert.throws(() => requireName(name, 'disk'), { code: 'VALUE_INVALID', exit: 2 });
  }
});

test('parseLabel() splits at the first =, and refuses what has no key or too long a value', () => {
  assert.deepEqual(parseLabel('team=db'), { key: 'team', value: 'db' });
  assert.deepEqual(parseLabel('a=b=c'), { key: 'a', value: 'b=c' });
  assert.deepEqual(parseLabel('a='), { key: 'a', value: '' });
  for (const text of ['a', '=b', '', '1=2', 'a b=c', `a=${'x'.repeat(limits.labelValueLength + 1)}`])
    assert.throws(() => parseLabel(text), { code: 'VALUE_INVALID' }, text);
});
