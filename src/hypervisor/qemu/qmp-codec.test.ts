import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeQmp, encodeQmp, qmpLineBytes, qmpStart } from './qmp-codec.ts';
import type { QmpMessage } from './qmp-codec.ts';

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const talk = [
  '{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}',
  '{"return": {}, "id": 1}',
  '{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "DEVICE_DELETED", "data": {"device": "vbd17", "path": "/machine/peripheral/vbd17"}}',
  '{"id": 2, "error": {"class": "DeviceNotFound", "desc": "Device \'vbd9\' not found"}}',
  '{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}',
].join('\r\n');

const expected: readonly QmpMessage[] = [
  { kind: 'greeting' },
  { kind: 'answer', id: 1, value: {} },
  { kind: 'event', event: 'DEVICE_DELETED', data: { device: 'vbd17', path: '/machine/peripheral/vbd17' } },
  { kind: 'failure', id: 2, reason: "Device 'vbd9' not found" },
  { kind: 'event', event: 'STOP', data: {} },
];

test('decodeQmp() reads greeting, answers, failures and events', () => {
  assert.deepEqual(decodeQmp(qmpStart, bytesOf(`${talk}\r\n`)).messages, expected);
});

test('decodeQmp() reads the same however the bytes are cut', () => {
  const whole = bytesOf(`${talk}\r\n`);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: whole.length })), (places) => {
      let rest = qmpStart;
      const messages: QmpMessage[] = [];
      let from = 0;
      for (const place of [...places.toSorted((a, b) => a - b), whole.length]) {
        const step = decodeQmp(rest, whole.subarray(from, place));
        rest = step.rest;
        messages.push(...step.messages);
        from = place;
      }
      assert.deepEqual(messages, expected);
      assert.equal(rest.bytes.length, 0);
    }),
  );
});

test('decodeQmp() answers what is no QMP with a reason, whatever the bytes', () => {
  for (const line of ['hello', '[]', '17', '{}', '{"error": 3}']) assert.equal(decodeQmp(qmpStart, bytesOf(`${line}\n`)).messages[0]?.kind, 'malformed');
  assert.equal(decodeQmp(qmpStart, new Uint8Array(qmpLineBytes + 1)).messages[0]?.kind, 'malformed');
  fc.assert(fc.property(fc.uint8Array(), (bytes) => void decodeQmp(qmpStart, bytes)));
});

test('encodeQmp() makes one line', () => {
  assert.equal(encodeQmp(3, 'device_del', { id: 'vbd17' }), '{"execute":"device_del","arguments":{"id":"vbd17"},"id":3}\n');
  assert.equal(encodeQmp(3, 'human', { text: 'a\nb' }).indexOf('\n'), encodeQmp(3, 'human', { text: 'a\nb' }).length - 1);
});
