// Trouble that a user asks for, to see how a guest takes it: requests of a VBD that are late, or fail. As users write it:
// `5ms` or `1%` for all kinds of requests, `read=5ms,write=1s` for some.

import { XvdError } from '../base/error.ts';
import type { Delay, Faults, RequestKind } from './types.ts';

const KINDS: readonly RequestKind[] = ['read', 'write', 'flush'];
const MS: Readonly<Record<string, number>> = { ms: 1, s: 1000 };
/** A guest gives up long before. */
const LONGEST_MS = 600_000;

/** Milliseconds by kind of request. */
export const parseDelay = (text: string): Delay => byKind(text, 'delay', 'Write 5ms, or read=5ms,write=1s,flush=2s.', delayMs);

/** Chances of an I/O error, above 0 and at most 1, by kind of request. */
export const parseFaults = (text: string): Faults => byKind(text, 'chance of a fault', 'Write 1%, or read=0.1%,write=1%,flush=100%.', chance);

function delayMs(word: string): number | null {
  const [, number = '', unit = ''] = /^(\d+(?:\.\d+)?)(ms|s)$/.exec(word) ?? [];
  const ms = Number(number) * (MS[unit] ?? Number.NaN);
  return ms > 0 && ms <= LONGEST_MS ? ms : null;
}

function chance(word: string): number | null {
  const [, percent = ''] = /^(\d+(?:\.\d+)?)%$/.exec(word) ?? [];
  const value = Number(percent) / 100;
  return value > 0 && value <= 1 ? value : null;
}

function byKind(text: string, what: string, fix: string, read: (word: string) => number | null): Readonly<Partial<Record<RequestKind, number>>> {
  const found: Partial<Record<RequestKind, number>> = {};
  for (const part of text.split(',').map((word) => word.trim())) {
    const [kind, word] = part.includes('=') ? part.split('=', 2) : [null, part];
    const value = read((word ?? '').trim());
    const kinds = kind === null ? KINDS : KINDS.filter((one) => one === kind?.trim());
    if (value === null || kinds.length === 0) throw new XvdError('VALUE_INVALID', `'${part}' is no ${what}`, { fix });
    for (const one of kinds) {
      if (found[one] !== undefined) throw new XvdError('VALUE_INVALID', `'${text}' says a ${what} of ${one} twice`, { fix });
      found[one] = value;
    }
  }
  return found;
}
