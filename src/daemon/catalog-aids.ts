// What the use cases of the catalog need and may not do by themselves: compression, old databases, copies, the head of a label.
// Each is loaded when it is first used.

import { closeSync, openSync, readSync } from 'node:fs';
import type { CatalogSystem } from '../app/system.ts';
import type { Random } from '../base/clock.ts';
import { LABEL_HEADER_BYTES } from '../core/label.ts';

export type CatalogAids = Required<Pick<CatalogSystem, 'readLegacy' | 'packer' | 'openCopy' | 'readHead'>>;

export function catalogAids(random: Random): CatalogAids {
  const zlib = () => process.getBuiltinModule('node:zlib');
  return {
    readLegacy: async (file) => (await import('../catalog/legacy/read-legacy.ts')).readLegacy(file),
    packer: { pack: (data) => zlib().deflateRawSync(data), unpack: (data, limitBytes) => zlib().inflateRawSync(data, { maxOutputLength: limitBytes }) },
    openCopy: async (file) => (await import('../catalog/sqlite/open-copy.ts')).openSqliteCopy({ file, random }),
    readHead,
  };
}

/** Read-only, or udev wakes. null when it can't be read: that is told when the device is used. */
function readHead(path: string): Uint8Array | null {
  try {
    const descriptor = openSync(path, 'r');
    try {
      const head = new Uint8Array(LABEL_HEADER_BYTES);
      return readSync(descriptor, head, 0, head.length, 0) === head.length ? head : null;
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return null;
  }
}
