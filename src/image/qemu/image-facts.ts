// What an image is, found without opening anything but itself: its head is read by us before any program sees it, and what
// qemu-img then says of other files is read as well.

import { constants } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { resolve } from 'node:path';
import { XvdError } from '../../base/error.ts';
import { bytes, roundUp, SECTOR_BYTES } from '../../base/units.ts';
import { chooseFormat, namesOthers } from '../../core/image-format.ts';
import type { ImageFacts } from '../image.ts';
import { imageNode, jsonName } from './nodes.ts';
import type { QemuTools } from './qemu-tools.ts';

const HEAD_BYTES = 4096;

export async function inspectImage(tools: QemuTools, name: string, { format, trusted }: { format: string | null; trusted: boolean }): Promise<ImageFacts> {
  const path = resolve(name);
  const { head, tail, mark, isBlock } = await readEnds(path);
  const chosen = chooseFormat(path, format, head, tail);
  const named = namesOthers(chosen.format, head);
  if (named !== null && !trusted) throw refused(path, named);
  const said = await tools.info(jsonName(imageNode({ path, format: chosen.format, trusted }, isBlock))).catch((error: unknown) => {
    if (!(error instanceof XvdError) || error.code !== 'PROGRAM_FAILED') throw error;
    throw new XvdError('PROGRAM_FAILED', `${path} can't be read as ${chosen.format}: ${error.message}`, {
      cause: error,
      fix: 'Check the file, or give its --format.',
    });
  });
  const others = othersIn(said, path);
  if (others.length > 0 && !trusted) throw refused(path, others.join(', '));
  const size = Number(said['virtual-size']);
  if (!Number.isSafeInteger(size) || size < 0) throw new XvdError('PROGRAM_FAILED', `qemu-img tells no size of ${path}`);
  return { path, format: chosen.format, sizeBytes: bytes(roundUp(bytes(size), SECTOR_BYTES)), mark, trusted, warnings: chosen.warnings };
}

const refused = (path: string, what: string): XvdError =>
  new XvdError('IMAGE_NAMES_FILES', `${path} names ${what}: an image from elsewhere could bring any file of this host into the disk in that way`);

/** Backing files, external data files, and the extents of a VMDK that are other files. */
export function othersIn(said: Readonly<Record<string, unknown>>, path: string): readonly string[] {
  const specific = record(record(said['format-specific'])['data']);
  const extents = Array.isArray(specific['extents']) ? specific['extents'].map((extent) => record(extent)['filename']) : [];
  const others = [said['backing-filename'], specific['data-file'], ...extents.filter((name) => name !== path)];
  return others.filter((name) => typeof name === 'string');
}

const record = (value: unknown): Readonly<Record<string, unknown>> => (typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {});

type Ends = { readonly head: Uint8Array; readonly tail: Uint8Array; readonly mark: string; readonly isBlock: boolean };

async function readEnds(path: string): Promise<Ends> {
  const facts = await stat(path, { bigint: true }).catch((error: unknown) => fail(path, error));
  if (!facts.isFile() && !facts.isBlockDevice()) throw new XvdError('VALUE_INVALID', `${path} is no regular file or block device`);
  // A name may become a pipe meanwhile: opening that must not wait.
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => fail(path, error));
  try {
    const size = facts.isFile() ? Number(facts.size) : 0;
    const mark = `${facts.dev}:${facts.ino}:${facts.size}:${facts.mtimeNs}`;
    return { head: await read(handle, 0), tail: size < 512 ? new Uint8Array(0) : await read(handle, size - 512, 512), mark, isBlock: facts.isBlockDevice() };
  } catch (error) {
    return fail(path, error);
  } finally {
    await handle.close();
  }
}

async function read(handle: FileHandle, at: number, length = HEAD_BYTES): Promise<Uint8Array> {
  const { bytesRead, buffer } = await handle.read(new Uint8Array(length), 0, length, at);
  return buffer.subarray(0, bytesRead);
}

export function fail(path: string, error: unknown): never {
  const { code, message } = error as NodeJS.ErrnoException;
  if (error instanceof XvdError) throw error;
  if (code === 'ENOENT' || code === 'ENOTDIR') throw new XvdError('FILE_NOT_FOUND', `there is no ${path}`, { cause: error });
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') throw new XvdError('NOT_PERMITTED', `${path}: ${message}`, { cause: error });
  if (code === 'ENOSPC' || code === 'EDQUOT') throw new XvdError('IMAGE_NO_SPACE', `${path}: ${message}`, { cause: error });
  throw new XvdError('DEVICE_FAILED', `${path}: ${message}`, { cause: error });
}
