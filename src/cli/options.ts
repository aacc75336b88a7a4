// From the texts of flags and arguments to the options of use cases.

import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Expiry } from '../app/shapes.ts';
import { XvdError } from '../base/error.ts';
import { parseDuration, parseExpiry } from '../core/duration.ts';
import { parseLabel } from '../core/name.ts';
import { wallMs } from '../base/units.ts';

export function expiryOption(text: string | undefined, nowMs: number): Expiry {
  if (text === undefined) return {};
  const at = parseExpiry(text, wallMs(nowMs));
  // A time from now counts from the commit, an instant is what it is.
  return at === null || /^\d{4}-/.test(text) ? { expiresAtMs: at } : { expiresInMs: parseDuration(text) };
}

export function labelsOption(texts: readonly string[]): Readonly<Record<string, string>> {
  const pairs = texts.map(parseLabel);
  const twice = pairs.find(({ key }, index) => pairs.findIndex((other) => other.key === key) !== index);
  if (twice !== undefined) throw new XvdError('USAGE', `the label '${twice.key}' is given twice`);
  return Object.fromEntries(pairs.map(({ key, value }) => [key, value]));
}

export function wholeNumber(text: string, name: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new XvdError('VALUE_INVALID', `${name} is a whole number, not '${text}'`);
  return Number(text);
}

/** `sda3` is /dev/sda3; a path with a slash, or the name of a file here that is no device, is that file. */
export function deviceArgument(text: string): string {
  if (text.includes('/')) return resolve(text);
  return existsSync(`/dev/${text}`) || !existsSync(text) ? `/dev/${text}` : resolve(text);
}
