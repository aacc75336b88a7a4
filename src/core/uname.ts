// Names of sources: `vd:5`, `vd:web`, `phy:sda3`, `phy:/dev/sda3`. A uname is split at its first colon.

import { XvdError } from '../base/error.ts';
import { isName } from './name.ts';

export type DiskRef = { readonly by: 'id'; readonly id: number } | { readonly by: 'name'; readonly name: string };
export type Uname = { readonly kind: 'vd'; readonly ref: DiskRef } | { readonly kind: 'phy'; readonly path: string };

export function parseUname(text: string): Uname {
  const at = text.indexOf(':');
  const [kind, rest] = at < 0 ? ['', text] : [text.slice(0, at), text.slice(at + 1)];
  if (kind === 'vd') return { kind, ref: refOf(rest, text) };
  if (kind === 'phy' && rest !== '' && !rest.includes('\0')) return { kind, path: rest.startsWith('/') ? rest : `/dev/${rest}` };
  throw new XvdError('VALUE_INVALID', `'${text}' is no source`, { fix: 'Write vd:ID, vd:NAME or phy:DEVICE.' });
}

/** A DISK argument: `5`, `vd:5` or its name. */
export const parseDiskRef = (text: string): DiskRef => refOf(text.startsWith('vd:') ? text.slice(3) : text, text);

function refOf(text: string, whole: string): DiskRef {
  if (/^\d+$/.test(text)) {
    const id = Number(text);
    // Disk 0 was the free pool of the original: nobody's disk (F5).
    if (id === 0 || !Number.isSafeInteger(id)) throw new XvdError('DISK_NOT_FOUND', `no disk vd:${text}`);
    return { by: 'id', id };
  }
  if (isName(text)) return { by: 'name', name: text };
  throw new XvdError('VALUE_INVALID', `'${whole}' is no disk`, { fix: 'Write its ID (5 or vd:5) or its name.' });
}
