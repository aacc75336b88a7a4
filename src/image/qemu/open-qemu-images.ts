// Images by qemu's own tools: every format that they read, holes kept on both sides. A new image is written beside its name and
// gets it when it is whole and on its device.

import { chmod, link, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { XvdError } from '../../base/error.ts';
import type { Programs } from '../../host/programs.ts';
import type { Images, UnfinishedImage } from '../image.ts';
import { copyRecords } from './copy-records.ts';
import { fail, inspectImage } from './image-facts.ts';
import { diskNode, driverOf, imageNode, jsonName, partOf, zerosNode } from './nodes.ts';
import { qemuTools } from './qemu-tools.ts';

export function openQemuImages({ programs, runFolder }: { readonly programs: Programs; readonly runFolder: string }): Images {
  const tools = qemuTools(programs);
  return {
    ...copyRecords(runFolder),
    inspect: (path, options) => inspectImage(tools, path, options),
    async copyIn(image, endpoint, { ontoZeros, ...part }, watch) {
      const isBlock = (await stat(image.path)).isBlockDevice();
      const toEnd = part.offsetBytes + part.lengthBytes >= image.sizeBytes;
      const from = jsonName(partOf(imageNode(image, isBlock), part, toEnd));
      await tools.convert(from, jsonName(partOf(diskNode(endpoint), part)), { ontoZeros, lengthBytes: part.lengthBytes, flush: part.last }, watch);
    },
    async zero(endpoint, part, watch) {
      const to = jsonName(partOf(diskNode(endpoint), part));
      await tools.convert(jsonName(zerosNode(part.lengthBytes)), to, { ontoZeros: false, lengthBytes: part.lengthBytes, flush: part.last }, watch);
    },
    exists: async (path) => existsAsFile(path),
    async begin({ path, format, sizeBytes }) {
      const part = partPath(path);
      try {
        await rm(part, { force: true });
        // Made by us first: what a disk holds is not for everybody to read.
        await (await open(part, 'wx', 0o600)).close();
        await tools.create(part, driverOf(format), sizeBytes);
        await chmod(part, 0o600);
      } catch (error) {
        await rm(part, { force: true }).catch(() => undefined);
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw new XvdError('FILE_NOT_FOUND', `there is no folder ${dirname(path)}`, { cause: error });
        return fail(part, error);
      }
      return { path, part, format, mark: (await markOf(part)) ?? '' };
    },
    async findUnfinished({ path, format }, mark) {
      const part = partPath(path);
      return (await markOf(part)) === mark ? { path, part, format, mark } : null;
    },
    async copyOut(endpoint, image, part, watch) {
      const to = jsonName(partOf(imageNode({ path: image.part, format: image.format, trusted: false }), part));
      await tools.convert(jsonName(partOf(diskNode(endpoint), part)), to, { ontoZeros: true, lengthBytes: part.lengthBytes, flush: false }, watch);
    },
    finish,
    discard: ({ part }) => rm(part, { force: true }),
  };
}

const partPath = (path: string): string => `${path}.xvd-part`;

async function markOf(part: string): Promise<string | null> {
  const facts = await stat(part, { bigint: true }).catch(() => null);
  return facts === null || !facts.isFile() ? null : `${facts.dev}:${facts.ino}`;
}

async function existsAsFile(path: string): Promise<boolean> {
  const facts = await stat(path).catch((error: unknown) => ((error as NodeJS.ErrnoException).code === 'ENOENT' ? null : fail(path, error)));
  if (facts !== null && !facts.isFile())
    throw new XvdError('VALUE_INVALID', `${path} is no regular file`, { fix: 'Name a file; a device is written through an attach.' });
  return facts !== null;
}

async function finish({ path, part }: UnfinishedImage, { replace }: { readonly replace: boolean }): Promise<void> {
  try {
    await sync(part);
    if (replace) await rename(part, path);
    else await giveName(part, path);
    await sync(dirname(path));
  } catch (error) {
    fail(path, error);
  }
}

/** A rename would replace what came there meanwhile; a filesystem without hard links has no other way. */
async function giveName(part: string, path: string): Promise<void> {
  try {
    await link(part, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw new XvdError('IMAGE_EXISTS', `${path} exists already`, { cause: error });
    return rename(part, path);
  }
  await rm(part);
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
