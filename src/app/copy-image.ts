// Images into disks and disks into images, part by part. A copy that was interrupted goes on where it was when it is asked for
// again and nothing has changed; holes stay holes both ways.

import { XvdError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import { bytes } from '../base/units.ts';
import { resumeAt } from '../core/copy-record.ts';
import type { CopyRecord } from '../core/copy-record.ts';
import { formatToWrite } from '../core/image-format.ts';
import { formatSize } from '../core/size.ts';
import type { Disk, ExpertLevel } from '../core/types.ts';
import type { CopyPart, CopyWatch, Images, UnfinishedImage } from '../image/image.ts';
import { look } from './change.ts';
import { findDiskArgument, unameOf } from './find-disk.ts';
import { refuseOverlap } from './pool-overlap.ts';
import { reapWorkers } from './reap-workers.ts';
import { asCopy, happenedSince, refuseUnfit } from './reserve-copy.ts';
import type { CopyFrame } from './reserve-copy.ts';
import { outsideUsers } from './reserve-vbd.ts';
import { catalogUsers, lookUpPlaces } from './sector-users.ts';
import type { Changed, CopyInfo, ExportOptions, ImportOptions, Warnings } from './shapes.ts';
import { allowSharing } from './sharing-check.ts';
import type { System } from './system.ts';

export type CopySignal = { readonly signal?: AbortSignal };
type Copied = CopyInfo & Changed & Warnings;

/** What is in the image, and zeros behind it. DISK_TOO_SMALL, IMAGE_NAMES_FILES, SHARING_REFUSED, FILE_NOT_FOUND, PROGRAM_FAILED … */
export async function importImage(system: System, options: ImportOptions, { signal }: CopySignal = {}): Promise<Copied> {
  const images = imagesOf(system);
  const expert = options.expert ?? 0;
  const disk = await livingDisk(system, options.disk);
  const image = await images.inspect(options.image, { format: options.format ?? null, trusted: options.trustImage === true });
  if (image.sizeBytes > disk.sizeBytes) {
    throw new XvdError(
      'DISK_TOO_SMALL',
      `the disk in ${image.path} has ${formatSize(image.sizeBytes)} (${image.sizeBytes} bytes), and ${unameOf(disk)} only ${formatSize(disk.sizeBytes)} (${disk.sizeBytes})`,
    );
  }
  await refuseImageInUse(system, image.path, 'r', expert);
  const want = { kind: 'import', diskId: disk.id, expert, image: image.path, totalBytes: disk.sizeBytes, ...(signal === undefined ? {} : { signal }) } as const;
  return asCopy(system, want, async (frame) => {
    const key = `${disk.id} import ${image.path} ${image.format}`;
    const { start, record } = await beginOrGoOn(system, images, frame, key, image.mark);
    // Zeros behind the image are there already, or are written.
    const endBytes = record.ontoZeros ? image.sizeBytes : disk.sizeBytes;
    for (const part of partsFrom(start, endBytes, image.sizeBytes)) {
      if (part.offsetBytes < image.sizeBytes) await images.copyIn(image, frame.endpoint, { ...part, ontoZeros: record.ontoZeros }, watchOf(frame, part));
      else await images.zero(frame.endpoint, part, watchOf(frame, part));
      await images.keepRecord(key, { ...record, doneBytes: part.offsetBytes + part.lengthBytes });
    }
    await frame.proveWritten();
    await images.dropRecord(key);
    const info = { disk: unameOf(disk), image: image.path, format: image.format, sizeBytes: image.sizeBytes, resumedAtBytes: start };
    return { ...info, changed: true, warnings: [...image.warnings, ...frame.warnings] };
  });
}

/** Into a new file. IMAGE_EXISTS unless forced, IMAGE_NO_SPACE, SHARING_REFUSED while somebody writes to the disk. */
export async function exportImage(system: System, options: ExportOptions, { signal }: CopySignal = {}): Promise<Copied> {
  const images = imagesOf(system);
  const expert = options.expert ?? 0;
  const { image: path, force = false } = options;
  const format = formatToWrite(path, options.format ?? null);
  const disk = await livingDisk(system, options.disk);
  if (await images.exists(path)) {
    if (!force) throw new XvdError('IMAGE_EXISTS', `${path} exists already`);
    await refuseImageInUse(system, path, 'w', expert);
  }
  const want = { kind: 'export', diskId: disk.id, expert, image: path, totalBytes: disk.sizeBytes, ...(signal === undefined ? {} : { signal }) } as const;
  return asCopy(system, want, async (frame) => {
    const key = `${disk.id} export ${path} ${format}`;
    const left = await images.record(key);
    const found = left === null ? null : await images.findUnfinished({ path, format }, left.mark);
    const gone = await beginOrGoOn(system, images, frame, key, found?.mark ?? '');
    const unfinished = found !== null && gone.start > 0 ? found : await images.begin({ path, format, sizeBytes: disk.sizeBytes });
    const record = { ...gone.record, mark: unfinished.mark };
    await copyOut(images, frame, unfinished, key, { ...record, doneBytes: gone.start });
    await images.finish(unfinished, { replace: force });
    await images.dropRecord(key);
    return { disk: unameOf(disk), image: path, format, sizeBytes: disk.sizeBytes, resumedAtBytes: gone.start, changed: true, warnings: frame.warnings };
  });
}

/** What was interrupted is kept, to go on with; what failed takes no space any longer. */
async function copyOut(images: Images, frame: CopyFrame, unfinished: UnfinishedImage, key: string, record: CopyRecord): Promise<void> {
  const { sizeBytes } = frame.disk;
  try {
    for (const part of partsFrom(record.doneBytes, sizeBytes, sizeBytes)) {
      await images.copyOut(frame.endpoint, unfinished, part, watchOf(frame, part));
      await images.keepRecord(key, { ...record, doneBytes: part.offsetBytes + part.lengthBytes });
    }
  } catch (error) {
    if (frame.signal.aborted && (await images.record(key)) !== null) throw error;
    await images.discard(unfinished);
    await images.dropRecord(key);
    throw error;
  }
}

function imagesOf(system: System): Images {
  if (system.images === undefined) throw new XvdError('NOT_SUPPORTED', 'images are not copied here');
  return system.images;
}

async function livingDisk(system: System, argument: string): Promise<Disk> {
  await reapWorkers(system);
  return look(system, async (reader, now) => {
    const disk = await findDiskArgument(reader, argument);
    refuseUnfit(disk, now);
    return disk;
  });
}

/** An image that is a file or device of the pool, or that somebody uses in a way that does not fit. */
async function refuseImageInUse(system: System, path: string, mode: 'r' | 'w', expert: ExpertLevel): Promise<void> {
  const facts = await system.host.inspect(path);
  const { devices, paths } = await system.catalog.read(async (reader) => ({
    devices: await reader.devices(),
    paths: (await reader.vbds()).flatMap(({ source }) => (source.kind === 'phy' ? [source.path] : [])),
  }));
  await refuseOverlap(system, facts, devices, 'phy');
  const places = await lookUpPlaces(system, devices, paths);
  const users = [...(await outsideUsers(system)), ...(await system.catalog.read((reader) => catalogUsers(reader, places)))];
  allowSharing({ kind: 'copy', name: `image ${path}`, mode, footprint: facts.footprint }, users, expert, places);
}

async function beginOrGoOn(
  system: System,
  images: Images,
  { disk, startedEvent, wasClean }: CopyFrame,
  key: string,
  mark: string,
): Promise<{ start: number; record: CopyRecord }> {
  const bootId = await system.host.bootId();
  const left = await images.record(key);
  const since = left === null ? { events: null, written: false } : await happenedSince(system, disk.id, left.sinceEvent, startedEvent);
  const start = resumeAt(left, { of: key, bootId, mark, disk: unameOf(disk), ...since });
  if (start === 0) await images.dropRecord(key);
  const ontoZeros = start > 0 ? left?.ontoZeros === true : wasClean;
  return { start, record: { of: key, bootId, mark, doneBytes: start, ontoZeros, sinceEvent: startedEvent } };
}

/** Parts to the end; none lies on both sides of the end of the image. */
function* partsFrom(start: number, endBytes: number, imageBytes: number): Generator<CopyPart> {
  for (let at = start; at < endBytes;) {
    const border = at < imageBytes ? imageBytes : endBytes;
    const lengthBytes = Math.min(limits.copyPartBytes, border - at);
    yield { offsetBytes: bytes(at), lengthBytes: bytes(lengthBytes), last: at + lengthBytes >= endBytes };
    at += lengthBytes;
  }
}

function watchOf({ signal, progress }: CopyFrame, { offsetBytes }: CopyPart): CopyWatch {
  signal.throwIfAborted();
  return { signal, progress: (done) => progress(offsetBytes + done) };
}
