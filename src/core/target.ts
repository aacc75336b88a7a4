// Target devices by the names and numbers of Xen's virtual block devices (Xen, docs/misc/vbd-interface): xvd, hd and sd,
// a drive in letters, an optional partition without leading zeros.

import { XvdError } from '../base/error.ts';

export type Target = { readonly target: string; readonly vdev: number };

const EXTENDED = 1 << 28;
const FORM = /^(?:\/dev\/)?(xvd|hd|sd)([a-z]+)([1-9]\d{0,2})?$/;

export function parseTarget(text: string): Target {
  const match = FORM.exec(text);
  const vdev = match === null ? null : numberOf(match[1] ?? '', indexOf(match[2] ?? ''), Number(match[3] ?? 0));
  if (match === null || vdev === null) {
    throw new XvdError('VALUE_INVALID', `'${text}' is no target device`, { fix: 'Use a name like xvda, xvdb1, sda or hda.' });
  }
  return { target: `/dev/${match[1]}${match[2]}${match[3] ?? ''}`, vdev };
}

/** a = 0, z = 25, aa = 26. */
function indexOf(letters: string): number {
  let index = 0;
  for (const letter of letters) index = index * 26 + (letter.charCodeAt(0) - 96);
  return index - 1;
}

function numberOf(kind: string, drive: number, partition: number): number | null {
  if (kind === 'hd') return drive > 3 || partition > 63 ? null : ((drive < 2 ? 3 : 22) << 8) | ((drive & 1) << 6) | partition;
  if (kind === 'sd') return drive > 15 || partition > 15 ? null : (8 << 8) | (drive << 4) | partition;
  if (drive > 0xfffff || partition > 255) return null;
  return drive <= 15 && partition <= 15 ? (202 << 8) | (drive << 4) | partition : EXTENDED | (drive << 8) | partition;
}

function lettersOf(index: number): string {
  let letters = '';
  for (let rest = index + 1; rest > 0; rest = Math.floor((rest - 1) / 26)) letters = String.fromCharCode(97 + ((rest - 1) % 26)) + letters;
  return letters;
}

/** The name of a number; null for what is no target of ours. */
export function targetName(vdev: number): string | null {
  const name = (kind: string, drive: number, partition: number): string => `/dev/${kind}${lettersOf(drive)}${partition === 0 ? '' : partition}`;
  if (vdev >= EXTENDED) return name('xvd', (vdev & (EXTENDED - 1)) >> 8, vdev & 255);
  const minor = vdev & 255;
  if (vdev >> 8 === 202) return name('xvd', minor >> 4, minor & 15);
  if (vdev >> 8 === 8) return name('sd', minor >> 4, minor & 15);
  if (vdev >> 8 === 3 || vdev >> 8 === 22) return minor >> 6 > 1 ? null : name('hd', (vdev >> 8 === 3 ? 0 : 2) + (minor >> 6), minor & 63);
  return null;
}
