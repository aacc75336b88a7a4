// How much a VBD may do in a second, as users write it: `10M` (bytes), `500iops` (requests), or both with a comma.

import { XvdError } from '../base/error.ts';
import { parseSize } from './size.ts';
import type { Rate } from './types.ts';

export function parseRate(text: string): Rate {
  const rate: { bytesPerSecond?: number; requestsPerSecond?: number } = {};
  for (const part of text.split(',').map((word) => word.trim())) {
    const requests = /^(\d+)\s*iops$/i.exec(part);
    if (requests !== null) rate.requestsPerSecond = above(Number(requests[1]), text);
    else if (/^\d+$/.test(part))
      throw new XvdError('VALUE_INVALID', `the limit '${text}' has no unit`, {
        fix: `Write ${part}M for bytes a second, or ${part}iops for requests a second.`,
      });
    else rate.bytesPerSecond = parseSize(part);
  }
  return rate;
}

function above(value: number, text: string): number {
  if (!(value > 0) || !Number.isSafeInteger(value))
    throw new XvdError('VALUE_INVALID', `the limit '${text}' is not above 0`, { fix: 'Leave --limit out for no limit.' });
  return value;
}
