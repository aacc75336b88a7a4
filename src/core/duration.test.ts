import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { XvdError } from '../base/error.ts';
import { wallMs } from '../base/units.ts';
import { formatInstant, formatLeft, leaseEnd, parseDuration, parseExpiry } from './duration.ts';

const now = wallMs(Date.UTC(2026, 10, 23, 6));
const refused = (body: () => unknown, says: string, fix = /./): void =>
  assert.throws(body, (error) => error instanceof XvdError && error.code === 'VALUE_INVALID' && fix.test(error.fix), says);

test('parseDuration() reads each unit', () => {
  const known = { '30s': 30e3, '10m': 600e3, '2h': 7200e3, '7d': 7 * 864e5, '2w': 14 * 864e5, '1.5h': 5400e3 };
  for (const [text, ms] of Object.entries(known)) assert.equal(parseDuration(text), ms, text);
});

test('parseExpiry(): a time from now, an instant, or never', () => {
  assert.equal(parseExpiry('30s', now), now + 30_000);
  assert.equal(parseExpiry('never', now), null);
  assert.equal(parseExpiry('2026-11-23T06:00:01Z', now), now + 1000);
  assert.equal(parseExpiry('2026-11-23T08:00:01+01:00', now), now + 3_601_000);
  assert.equal(parseExpiry('2026-11-24', now), Date.UTC(2026, 10, 24));
});

test('parseExpiry() refuses bare numbers, 0, negative, past and malformed values, with the hint never', () => {
  for (const text of ['0', '0s', '-1', '-5m', '7', '60', '', '1x', '1e3s', '5M', 'NEVER', '999w999w', '99999999999w']) refused(() => parseExpiry(text, now), text, /never/);
  for (const text of ['2026-11-23T06:00:00Z', '1999-01-01', '9999-01-01']) refused(() => parseExpiry(text, now), text, /never/);
  for (const text of ['2027-13-01', '2027-02-30', '2027-02-31T00:00:00Z', '2027-01-01T25:00:00Z', '2027-01-01T00:00:00']) refused(() => parseExpiry(text, now), text);
});

test('F17: leaseEnd() of nothing said is never', () => {
  assert.equal(leaseEnd({}, now), null);
  assert.equal(leaseEnd({ expiresInMs: null }, now), null);
  assert.equal(leaseEnd({ expiresAtMs: null }, now), null);
});

test('leaseEnd() is above now or refused', () => {
  for (const value of [0, -1, Number.NaN, Infinity, 2 ** 60, 0.5]) {
    refused(() => leaseEnd({ expiresInMs: value }, now), String(value));
    refused(() => leaseEnd({ expiresAtMs: value }, now), String(value));
  }
  refused(() => leaseEnd({ expiresAtMs: now + 1, expiresInMs: 1 }, now), 'both');
  fc.assert(fc.property(fc.integer({ min: 1, max: 1e12 }), (ms) => leaseEnd({ expiresInMs: ms }, now) === now + ms));
});

test('formatInstant() shows what any clock says; formatLeft() two units', () => {
  assert.equal(formatInstant(0), '1970-01-01T00:00:00.000Z');
  for (const ms of [Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]) assert.match(formatInstant(ms), /^[+-]\d{6}-/);
  assert.equal(formatLeft(6 * 864e5 + 23 * 36e5 + 59e3), '6d 23h');
  assert.equal(formatLeft(1), '1s');
  assert.equal(formatLeft(0), 'over');
});
