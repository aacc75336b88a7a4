import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { XvdError } from '../base/error.ts';
import { parseDelay, parseFaults } from './trouble.ts';

test('for all kinds of requests, or for some', () => {
  assert.deepEqual(parseDelay('5ms'), { read: 5, write: 5, flush: 5 });
  assert.deepEqual(parseDelay('read=0.5ms, flush=2s'), { read: 0.5, flush: 2000 });
  assert.deepEqual(parseFaults('write=1%'), { write: 0.01 });
  assert.deepEqual(parseFaults('100%'), { read: 1, write: 1, flush: 1 });
});

test('what is no time, no chance or no kind of request, or is said twice, is refused with what to write', () => {
  const refused = (parse: (text: string) => unknown, text: string): void =>
    assert.throws(
      () => parse(text),
      (error: unknown) => error instanceof XvdError && error.code === 'VALUE_INVALID' && error.message.includes(text.split(',')[0] ?? ''),
      text,
    );
  for (const text of ['', '5', '0ms', '5m', 'read=', 'trim=5ms', 'read=5ms,read=6ms', '5ms,read=1ms', '1h', '601s', '-1s']) refused(parseDelay, text);
  for (const text of ['', '1', '0%', '101%', 'write=', 'write=1', 'read=1%,read=1%', '=1%', 'write=1%%']) refused(parseFaults, text);
});

test('any text is taken or refused, and what is taken is within bounds', () => {
  const within = (parse: (text: string) => object, most: number) =>
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^(read|write|flush)?=?[0-9.]{1,5}(ms|s|%)$/)), (text) => {
      try {
        for (const value of Object.values(parse(text))) assert.ok(value > 0 && value <= most);
      } catch (error) {
        assert.ok(error instanceof XvdError, String(error));
      }
    });
  fc.assert(within(parseDelay, 600_000));
  fc.assert(within(parseFaults, 1));
});
