import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { limits } from '../base/limits.ts';
import { wallMs } from '../base/units.ts';
import { formatInstant, formatLeft, leaseEnd, parseDuration, parseExpiry } from './duration.ts';

const now = wallMs(Date.UTC(2026, 10, 23, 12));
const refused = (fix: RegExp) => (error: { code: string; exit: number; fix: string }) => {
  assert.deepEqual([error.code, error.exit], ['VALUE_INVALID', 2]);
  assert.match(error.fix, fix);
  return true;
};

test('parseDuration() takes s, m, h, d and w', () => {
  for (const [text, ms] of [
    ['30s', 30_000],
    ['10m', 600_000],
    ['2h', 7_200_000],
    ['7d', 604_800_000],
    ['2w', 1_209_600_000],
    ['1.5h', 5_400_000],
  ] as const)
    assert.equal(parseDuration(text), ms);
});

test('parseDuration() refuses a bare number with a hint, and 0 with the hint never', () => {
  assert.throws(() => parseDuration('30'), refused(/30s/));
  for (const text of ['0', '0s', '-1', '-5m', '', '5y', '1h30m', 's']) assert.throws(() => parseDuration(text), refused(/never/), text);
});

test('parseExpiry() takes never, a time from now and an instant', () => {
  assert.equal(parseExpiry('never', now), null);
  assert.equal(parseExpiry('10m', now), now + 600_000);
  assert.equal(parseExpiry('2027-01-31T12:00:00Z', now), Date.UTC(2027, 0, 31, 12));
  assert.equal(parseExpiry('2027-01-31T12:00:00+02:00', now), Date.UTC(2027, 0, 31, 10));
});

test('parseExpiry() refuses what is past or now, no instant at all, and more than the limit', () => {
  for (const text of ['2026-11-23T12:00:00Z', '1970-01-01T00:00:00Z', '0', '-1d', '200000w', '2200-01-01T00:00:00Z'])
    assert.throws(() => parseExpiry(text, now), refused(/never/), text);
  for (const text of ['2027-13-01T00:00:00Z', '2027-02-30T00:00:00Z', '2027-02-29', 'tomorrow', '2027'])
    assert.throws(() => parseExpiry(text, now), { code: 'VALUE_INVALID' }, text);
});

test('leaseEnd(): absent and null are never; 0, negative, past, broken and over the limit are refused; not both', () => {
  for (const expiry of [{}, { expiresInMs: null }, { expiresAtMs: null }, { expiresAtMs: null, expiresInMs: null }]) assert.equal(leaseEnd(expiry, now), null);
  assert.equal(leaseEnd({ expiresInMs: 1 }, now), now + 1);
  assert.equal(leaseEnd({ expiresAtMs: now + 5 }, now), now + 5);
  for (const expiresInMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 0.5, limits.leaseMs + 1])
    assert.throws(() => leaseEnd({ expiresInMs }, now), refused(/never/), String(expiresInMs));
  for (const expiresAtMs of [0, now, now - 1, Number.NaN]) assert.throws(() => leaseEnd({ expiresAtMs }, now), refused(/never/), String(expiresAtMs));
  assert.throws(() => leaseEnd({ expiresAtMs: now + 5, expiresInMs: 5 }, now), { code: 'VALUE_INVALID' });
});

test('formatInstant() is ISO 8601 in UTC, which parseExpiry() reads back', () => {
  assert.equal(formatInstant(now), '2026-11-23T12:00:00.000Z');
  fc.assert(fc.property(fc.integer({ min: now + 1, max: now + Math.floor(limits.leaseMs) }), (ms) => assert.equal(parseExpiry(formatInstant(ms), now), ms)));
  assert.equal(formatInstant(Number.MAX_SAFE_INTEGER), '+275760-09-13T00:00:00.000Z');
});

test('formatLeft() shows the two largest units', () => {
  for (const [ms, text] of [
    [604_799_000, '6d 23h'],
    [604_800_000, '1w'],
    [90_000, '1m 30s'],
    [1, '1s'],
    [59_999, '1m'],
    [0, 'over'],
    [-5, 'over'],
  ] as const)
    assert.equal(formatLeft(ms), text);
});
