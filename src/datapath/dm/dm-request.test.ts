import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dmCommands, encodeDmRequest, udevWasTold } from './dm-request.ts';

const textAt = (bytes: Buffer, at: number): string => bytes.toString('latin1', at, bytes.indexOf(0, at));

test('commands have the numbers of linux/dm-ioctl.h', () => {
  assert.deepEqual(dmCommands, { create: 0xc138fd03, remove: 0xc138fd04, resume: 0xc138fd06, load: 0xc138fd09 });
});

test('a request names the device, and says how long it is', () => {
  const bytes = encodeDmRequest({ name: 'xvd-0-xvda@7.1a2b3c4d', uuid: 'XVD-1-7', readOnly: true, cookie: 0x0040_1234 });
  assert.equal(bytes.length, 312);
  assert.deepEqual(
    [0, 4, 8, 12, 16, 20, 28, 32].map((at) => bytes.readUInt32LE(at)),
    [4, 0, 0, 312, 312, 0, 1, 0x0040_1234],
  );
  assert.deepEqual([textAt(bytes, 48), textAt(bytes, 176)], ['xvd-0-xvda@7.1a2b3c4d', 'XVD-1-7']);
  assert.throws(() => encodeDmRequest({ name: 'n'.repeat(128) }));
});

test('targets follow one another, each with its parameters', () => {
  const bytes = encodeDmRequest({ name: 'x', table: '0 8 linear 8:3 4096\n8 9007199254740991 error\n' });
  assert.deepEqual([bytes.readUInt32LE(12), bytes.readUInt32LE(20)], [bytes.length, 2]);
  const first = bytes.subarray(312);
  const second = first.subarray(first.readUInt32LE(20));
  assert.deepEqual([first.readBigUInt64LE(0), first.readBigUInt64LE(8), textAt(first, 24), textAt(first, 40)], [0n, 8n, 'linear', '8:3 4096']);
  assert.deepEqual([second.readBigUInt64LE(0), second.readBigUInt64LE(8), textAt(second, 24), textAt(second, 40)], [8n, 9007199254740991n, 'error', '']);
  assert.equal(second.length, second.readUInt32LE(20));
});

test('whether udev was told is in the answer', () => {
  const answer = encodeDmRequest({ name: 'x' });
  assert.equal(udevWasTold(answer), false);
  answer.writeUInt32LE(1 << 13, 28);
  assert.equal(udevWasTold(answer), true);
});
