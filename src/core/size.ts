// Sizes with units: `64M`, `1.5T`, `10GB`. A bare number is refused: whose unit would it be?

import { XvdError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import { bytes, roundUp } from '../base/units.ts';
import type { Bytes } from '../base/units.ts';

export const DISK_MULTIPLE = 4096;
const PREFIXES = 'KMGTP';

export function parseSize(text: string): Bytes {
  const match = /^(\d+(?:\.\d+)?)\s*(?:([KMGTP])(iB|B)?|([km])B|B)?$/.exec(text.trim());
  const prefix = match?.[2] ?? match?.[4]?.toUpperCase();
  if (match === null || (prefix === undefined && !text.trim().endsWith('B'))) {
    const bare = /^\d+(\.\d+)?$/.test(text.trim());
    throw new XvdError('VALUE_INVALID', bare ? `the size '${text}' has no unit` : `'${text}' is no size`, {
      fix: bare ? `Write ${text}M or ${text}G.` : 'Write a number with a unit, like 64M, 10G or 1.5T.',
    });
  }
  const base = match[3] === 'B' || match[4] !== undefined ? 1000 : 1024;
  const value = Math.round(Number(match[1]) * base ** (prefix === undefined ? 0 : PREFIXES.indexOf(prefix) + 1));
  if (value <= 0) throw new XvdError('VALUE_INVALID', `the size '${text}' is not above 0`, { fix: 'Give a size above 0, like 64M.' });
  if (!Number.isSafeInteger(value) || value > limits.sizeBytes) throw new XvdError('VALUE_INVALID', `the size '${text}' is over the limit of 8 PiB`);
  return bytes(value);
}

/** Exact when whole in a unit, else with up to two decimals: `64 MiB`, `1.5 GiB`. */
export function formatSize(size: number): string {
  let unit = 0;
  let value = size;
  while (value >= 1024 && unit < PREFIXES.length) {
    value /= 1024;
    unit += 1;
  }
  const text = Number.isInteger(value) ? String(value) : String(Number(value.toFixed(2)));
  return unit === 0 ? `${text} B` : `${text} ${PREFIXES.charAt(unit - 1)}iB`;
}

export const roundDiskSize = (size: Bytes): Bytes => bytes(roundUp(size, DISK_MULTIPLE));
