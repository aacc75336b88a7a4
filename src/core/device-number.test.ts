import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deviceNumber } from './device-number.ts';

test('deviceNumber() unpacks what stat() gives', () => {
  assert.equal(deviceNumber(0x800), '8:0');
  assert.equal(deviceNumber(0xfe00), '254:0');
  assert.equal(deviceNumber(0x703), '7:3');
  assert.equal(deviceNumber(0x100305), '3:261');
  assert.equal(deviceNumber(0x10305), '259:5');
});
