// What an image is: its format, by what its user said, its name or its first bytes, and whether it names other files that a
// reader of it would open, too. Pure: bytes in, answers out.

import { XvdError } from '../base/error.ts';

/** As users call them; `vhd` is the driver `vpc` of QEMU. */
export const imageFormats = ['raw', 'qcow2', 'qcow', 'qed', 'vmdk', 'vhd', 'vhdx', 'vdi', 'parallels', 'dmg', 'cloop', 'bochs'] as const;
export type ImageFormat = (typeof imageFormats)[number];
/** Those that can be written in pieces, and take a size to the byte. */
export const writableFormats = ['raw', 'qcow2', 'qed', 'vmdk', 'vhd', 'vhdx', 'vdi'] as const satisfies readonly ImageFormat[];
export type WritableFormat = (typeof writableFormats)[number];

const byName: Readonly<Record<string, ImageFormat>> = {
  raw: 'raw',
  qcow2: 'qcow2',
  qed: 'qed',
  vmdk: 'vmdk',
  vhd: 'vhd',
  vpc: 'vhd',
  vhdx: 'vhdx',
  vdi: 'vdi',
  hds: 'parallels',
  hdd: 'parallels',
  dmg: 'dmg',
};

/** null: the name tells nothing (`.img` is raw here and qcow2 there). */
export function formatOfName(path: string): ImageFormat | null {
  const ending = /\.([A-Za-z0-9]+)$/.exec(path)?.[1]?.toLowerCase() ?? '';
  return Object.hasOwn(byName, ending) ? (byName[ending] ?? null) : null;
}

/** What a new image is written as. */
export function formatToWrite(path: string, asked: string | null): WritableFormat {
  const format = asked === 'vpc' ? 'vhd' : (asked ?? formatOfName(path) ?? 'raw');
  const found = writableFormats.find((writable) => writable === format);
  if (found === undefined) throw new XvdError('VALUE_INVALID', `images are not written as ${format}`, { fix: `Give --format: ${writableFormats.join(', ')}.` });
  return found;
}

const textAt = (bytes: Uint8Array, at: number, length: number): string => String.fromCharCode(...bytes.subarray(at, at + length));
const numberAt = (bytes: Uint8Array, at: number, length: 4 | 8, little = false): bigint => {
  if (bytes.length < at + length) return 0n;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, length);
  return length === 4 ? BigInt(view.getUint32(0, little)) : view.getBigUint64(0, little);
};

/** By the first bytes of a file (a sector is enough) and its last sector; null: nothing that is known, so raw. */
export function formatOfContent(head: Uint8Array, tail: Uint8Array): ImageFormat | null {
  const magic = textAt(head, 0, 4);
  if (magic === 'QFI\xfb') return numberAt(head, 4, 4) === 1n ? 'qcow' : 'qcow2';
  if (magic === 'QED\0') return 'qed';
  if (magic === 'KDMV' || magic === 'COWD' || isDescriptor(head)) return 'vmdk';
  if (textAt(head, 0, 8) === 'vhdxfile') return 'vhdx';
  if (textAt(head, 0, 8) === 'conectix' || textAt(tail, tail.length - 512, 8) === 'conectix') return 'vhd';
  if (numberAt(head, 64, 4, true) === 0xbeda107fn) return 'vdi';
  if (textAt(head, 0, 16) === 'WithoutFreeSpace' || textAt(head, 0, 16) === 'WithouFreSpacExt') return 'parallels';
  return textAt(tail, tail.length - 512, 4) === 'koly' ? 'dmg' : null;
}

/** A VMDK whose head is only text: it names the files that hold the data. */
const isDescriptor = (head: Uint8Array): boolean => /^(\s*#[^\n]*\n)*\s*# Disk DescriptorFile/i.test(textAt(head, 0, Math.min(head.length, 512)));

export type ChosenFormat = { readonly format: ImageFormat; readonly warnings: readonly string[] };

/** A name that is sure of itself counts more than content: what a guest wrote into a raw disk may look like anything. */
export function chooseFormat(path: string, asked: string | null, head: Uint8Array, tail: Uint8Array): ChosenFormat {
  if (asked !== null) {
    const format = imageFormats.find((known) => known === (asked === 'vpc' ? 'vhd' : asked));
    if (format === undefined)
      throw new XvdError('VALUE_INVALID', `'${asked}' is no format of images that is known`, { fix: `Known: ${imageFormats.join(', ')}.` });
    return { format, warnings: [] };
  }
  const named = formatOfName(path);
  const looks = formatOfContent(head, tail);
  if (named === null) return { format: looks ?? 'raw', warnings: [] };
  const odd = named === 'raw' && looks !== null;
  return { format: named, warnings: odd ? [`${path} is taken as raw, but begins like ${looks}: give --format ${looks} if it is that`] : [] };
}

/** What the head of an image says of other files: `a backing file` and the like; null: nothing. The rest is asked of qemu-img. */
export function namesOthers(format: ImageFormat, head: Uint8Array): string | null {
  if (format === 'qcow' || format === 'qcow2') {
    if (numberAt(head, 8, 8) !== 0n) return 'a backing file';
    return numberAt(head, 4, 4) >= 3n && (numberAt(head, 72, 8) & 4n) !== 0n ? 'an external data file' : null;
  }
  if (format === 'qed') return (numberAt(head, 16, 8, true) & 1n) !== 0n ? 'a backing file' : null;
  if (format !== 'vmdk') return null;
  const inside = textAt(head, 0, 4) === 'KDMV' && numberAt(head, 12, 8, true) === 0n;
  return isDescriptor(head) || inside ? 'files that hold its data' : null;
}
