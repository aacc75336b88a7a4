// Names of disks, pools and domains, and labels `K=V`.

import { XvdError } from '../base/error.ts';
import { limits } from '../base/limits.ts';

const NAME = /^[A-Za-z_][A-Za-z0-9._-]{0,63}$/;

export const isName = (text: string): boolean => NAME.test(text);

export function requireName(text: string, what: string): string {
  if (isName(text)) return text;
  throw new XvdError('VALUE_INVALID', `'${text}' is no name for a ${what}`, {
    fix: 'A name starts with a letter or _, then up to 63 letters, digits, dots, dashes or underscores.',
  });
}

export function parseLabel(text: string): { key: string; value: string } {
  const at = text.indexOf('=');
  const [key, value] = at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
  if (at < 0 || !isName(key)) throw new XvdError('VALUE_INVALID', `'${text}' is no label`, { fix: 'Write KEY=VALUE.' });
  if (value.length > limits.labelValueLength)
    throw new XvdError('VALUE_INVALID', `the value of label '${key}' has more than ${limits.labelValueLength} characters`);
  return { key, value };
}
