// Leases in words: `30s 10m 2h 7d 2w`, `never`, or an ISO 8601 instant. Instants in output are ISO 8601, UTC.

import { XvdError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import { wallMs } from '../base/units.ts';
import type { WallMs } from '../base/units.ts';

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
const INSTANT = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/;
const NEVER = 'Use `never` for a disk that does not expire.';

const invalid = (message: string, fix: string): XvdError => new XvdError('VALUE_INVALID', message, { fix });

/** In milliseconds; above 0. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([smhdw])$/.exec(text.trim());
  if (match === null) {
    const bare = /^-?\d+$/.test(text.trim());
    throw invalid(
      bare ? `the time '${text}' has no unit` : `'${text}' is no time`,
      bare && Number(text) > 0 ? `Write ${text}s, ${text}m, ${text}h or ${text}d. ${NEVER}` : `Write 30s, 10m, 2h, 7d or 2w. ${NEVER}`,
    );
  }
  const ms = Math.round(Number(match[1]) * (UNITS[match[2] ?? ''] ?? Number.NaN));
  if (!(ms > 0)) throw invalid(`the time '${text}' is not above 0`, NEVER);
  return ms;
}

/** null = never. */
export function parseExpiry(text: string, nowMs: WallMs): WallMs | null {
  const word = text.trim();
  if (word === 'never') return null;
  if (!INSTANT.test(word)) return leaseEnd({ expiresInMs: parseDuration(word) }, nowMs);
  const at = Date.parse(word);
  if (!Number.isSafeInteger(at) || !isDay(word)) throw invalid(`'${text}' is no instant`, 'Write it like 2027-01-31T12:00:00Z.');
  return leaseEnd({ expiresAtMs: at }, nowMs);
}

/** Date.parse takes 30 February for a day of March. */
const isDay = (word: string): boolean => formatInstant(Date.parse(`${word.slice(0, 10)}T00:00:00Z`)).startsWith(word.slice(0, 10));

/** When a lease ends: nothing said or null = never. 0, negative and past values are refused. */
export function leaseEnd(expiry: { readonly expiresAtMs?: number | null; readonly expiresInMs?: number | null }, nowMs: WallMs): WallMs | null {
  const { expiresAtMs, expiresInMs } = expiry;
  if (expiresAtMs !== undefined && expiresAtMs !== null && expiresInMs !== undefined && expiresInMs !== null) {
    throw invalid('a lease ends at an instant or after a time, not both', 'Give one of the two.');
  }
  const at = expiresAtMs ?? (expiresInMs === undefined || expiresInMs === null ? null : nowMs + expiresInMs);
  if (at === null) return null;
  if (!Number.isSafeInteger(at)) throw invalid(`a lease cannot end at ${at}`, NEVER);
  if (at <= nowMs) throw invalid('the lease would be over already', NEVER);
  if (at - nowMs > limits.leaseMs) throw invalid('a lease of more than 100 years', NEVER);
  return wallMs(at);
}

/** Of an instant that a Date can hold; a broken clock can give others, which are shown as the bound. */
export function formatInstant(ms: number): string {
  return new Date(Math.max(-8.64e15, Math.min(8.64e15, ms))).toISOString();
}

/** What is left of a lease: its two largest units, `6d 23h`. */
export function formatLeft(ms: number): string {
  if (ms <= 0) return 'over';
  const parts: string[] = [];
  let rest = Math.max(1, Math.round(ms / 1000)) * 1000;
  for (const unit of ['w', 'd', 'h', 'm', 's']) {
    const size = UNITS[unit] ?? 1;
    if (rest >= size && parts.length < 2) parts.push(`${Math.floor(rest / size)}${unit}`);
    rest %= size;
  }
  return parts.join(' ');
}
