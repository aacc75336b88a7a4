// Images in memory, read and written through the endpoints of a data path in memory: copies without a disk or a program.

import { XvdError } from '../../base/error.ts';
import { bytes } from '../../base/units.ts';
import type { CopyRecord } from '../../core/copy-record.ts';
import { chooseFormat } from '../../core/image-format.ts';
import type { Endpoint, Generation } from '../../core/types.ts';
import type { Images, UnfinishedImage } from '../image.ts';

/** A guest's end of what a data path serves. */
export type Served = {
  read(generation: Generation, offsetBytes: number, lengthBytes: number): Uint8Array;
  write(generation: Generation, offsetBytes: number, data: Uint8Array): void;
};

export interface MemoryImages extends Images {
  put(path: string, content: Uint8Array): void;
  content(path: string): Uint8Array | undefined;
}

export function openMemoryImages(served: Served): MemoryImages {
  const files = new Map<string, Uint8Array>();
  const records = new Map<string, CopyRecord>();
  const marks = new Map<string, number>();
  let lastMark = 0;
  const put = (path: string, content: Uint8Array): void => {
    files.set(path, content);
    marks.set(path, (lastMark += 1));
  };
  const file = (path: string): Uint8Array => {
    const content = files.get(path);
    if (content === undefined) throw new XvdError('FILE_NOT_FOUND', `there is no ${path}`);
    return content;
  };
  return {
    put,
    content: (path) => files.get(path),
    inspect: async (path, { format, trusted }) => {
      const content = file(path);
      const chosen = chooseFormat(path, format, content.subarray(0, 512), content.subarray(-512));
      return { path, ...chosen, sizeBytes: bytes(content.length), mark: String(marks.get(path)), trusted };
    },
    copyIn: async ({ path }, endpoint, { offsetBytes, lengthBytes }, { signal, progress }) => {
      signal.throwIfAborted();
      served.write(generationOf(endpoint), offsetBytes, file(path).slice(offsetBytes, offsetBytes + lengthBytes));
      progress(lengthBytes);
    },
    zero: async (endpoint, { offsetBytes, lengthBytes }, { signal, progress }) => {
      signal.throwIfAborted();
      served.write(generationOf(endpoint), offsetBytes, new Uint8Array(lengthBytes));
      progress(lengthBytes);
    },
    exists: async (path) => files.has(path),
    begin: async ({ path, format, sizeBytes }) => {
      const part = `${path}.xvd-part`;
      put(part, new Uint8Array(sizeBytes));
      return { path, part, format, mark: String(marks.get(part)) };
    },
    findUnfinished: async ({ path, format }, mark) => {
      const part = `${path}.xvd-part`;
      return files.has(part) && String(marks.get(part)) === mark ? { path, part, format, mark } : null;
    },
    copyOut: async (endpoint, { part }, { offsetBytes, lengthBytes }, { signal, progress }) => {
      signal.throwIfAborted();
      file(part).set(served.read(generationOf(endpoint), offsetBytes, lengthBytes), offsetBytes);
      progress(lengthBytes);
    },
    finish: async ({ path, part }: UnfinishedImage, { replace }) => {
      if (files.has(path) && !replace) throw new XvdError('IMAGE_EXISTS', `${path} exists already`);
      put(path, file(part));
      files.delete(part);
    },
    discard: async ({ part }) => void files.delete(part),
    record: async (key) => records.get(key) ?? null,
    keepRecord: async (key, record) => void records.set(key, record),
    dropRecord: async (key) => void records.delete(key),
  };
}

/** `copy/vd-5@17` */
const generationOf = (endpoint: Endpoint): Generation => (endpoint.kind === 'nbd' ? Number(endpoint.exportName.split('@').at(-1)) : -1);
