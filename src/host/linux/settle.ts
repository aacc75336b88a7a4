// Steps 2 and 3 of the fence: what was written in the ranges has reached the device, and no page cache of any node over them
// holds a page. Dropping pages can silently do nothing, so the kernel is asked, on each node; without its word there is no
// proof. Only the ranges are written back: neighbours are not waited for. A device that hangs is not waited for either.

import { closeSync, constants, openSync } from 'node:fs';
import { XvdError } from '../../base/error.ts';
import { GIB, MIB, SECTOR_BYTES } from '../../base/units.ts';
import type { Footprint, PlanDevice, SectorRange } from '../../core/types.ts';
import type { ByteRange } from '../host.ts';
import { beginWriteBack, cachedPages, dropRange, flushNode, syncRange, writeBackRange } from './kernel-calls.ts';
import { fileSpace, footprintOfFile, footprintOfNode } from './layers.ts';
import { withDevice } from './open-device.ts';
import { readLayers } from './read-layers.ts';
import type { Layers, LayerSource } from './read-layers.ts';
import { allBlockNumbers, isEmpty } from './sys-block.ts';
import { untilItStalls } from './until-it-stalls.ts';

/** A node or file over the ranges, and where on it they lie. */
type Place = { readonly path: string; readonly kind: 'block' | 'file'; readonly ranges: readonly Range[] };
type Range = { readonly offset: number; readonly length: number };

/** A page that another process holds for a moment is let go soon; each round drops more around the range. */
const ROUNDS = 5;
/** The largest piece of cache that may straddle the edge of a range. */
const FOLIO_BYTES = 4 * MIB;
/** So much is dropped at once while the rest is still on its way to the device. */
const PIECE_BYTES = 8 * MIB;
/** So much is asked for at once, whether anything of it is cached: of a large disk mostly little is. */
const LOOK_BYTES = GIB;

export type SettleOptions = LayerSource & {
  /** Device-mapper devices of VBDs: each is fenced by its own data path, and one of the same disk may be in use. */
  readonly isOurDm: (uuid: string) => boolean;
  /** A device that takes nothing for so long hangs. */
  readonly stallMs: number;
};

/** Called after each step that a device had to answer. */
type GotOn = () => void;

/** DEVICE_FAILED; FENCE_UNPROVED, also of a device that hangs. */
export async function settleDevice(options: SettleOptions, device: PlanDevice, ranges: readonly ByteRange[]): Promise<void> {
  if (ranges.length === 0) return;
  await untilItStalls(device.path, options.stallMs, (gotOn) => settleAll(options, device, ranges, gotOn));
}

async function settleAll(options: SettleOptions, device: PlanDevice, ranges: readonly ByteRange[], gotOn: GotOn): Promise<void> {
  await withDevice(options.roots, device, constants.O_RDONLY, async ({ handle, number }) => {
    const own = ranges.map(({ offsetBytes, lengthBytes }) => ({ offset: offsetBytes as number, length: lengthBytes as number }));
    const layers = readLayers(options);
    const { above, below } = await placesAround(options, layers, device, number, own);
    for (const place of above) await settlePlace(place, false, gotOn);
    await settlePlace({ path: `/proc/self/fd/${handle.fd}`, kind: device.kind, ranges: own }, true, gotOn);
    for (const place of below) await settlePlace(place, true, gotOn);
  });
}

/** Nodes that show the same sectors: those that stand on the device come first, those that it stands on last. */
async function placesAround(
  { roots, isOurDm }: SettleOptions,
  layers: Layers,
  device: PlanDevice,
  number: string | null,
  ranges: readonly Range[],
): Promise<{ above: readonly Place[]; below: readonly Place[] }> {
  const file = number === null ? layers.file(device.path) : null;
  const footprint = number !== null ? await footprintOfNode(layers, number) : file === null ? { own: [], below: [] } : await footprintOfFile(layers, file);
  const above: Place[] = [];
  const below: Place[] = [];
  for (const other of allBlockNumbers(roots)) {
    if (isEmpty(roots, other)) continue;
    const node = layers.node(other);
    if (node === null || other === number || node.sizeSectors === 0 || isOurDm(node.dm?.uuid ?? '')) continue;
    const places = shared(footprint, await footprintOfNode(layers, other), ranges);
    if (places.length > 0) (isBelow(footprint, other) ? below : above).push({ path: node.path, kind: 'block', ranges: places });
  }
  const loop = number === null ? null : layers.loop(number);
  if (loop?.kind === 'file') {
    const behind = footprint.own.find((range) => range.space === fileSpace(loop.file));
    if (behind !== undefined)
      below.push({ path: loop.path, kind: 'file', ranges: ranges.map(({ offset, length }) => ({ offset: offset + loop.offsetBytes, length })) });
  }
  return { above, below };
}

const isBelow = (footprint: Footprint, number: string): boolean =>
  (footprint.own[0]?.space ?? '') !== `drive:${number}` && footprint.own.some((range) => range.space === `drive:${number}`);

/** The ranges of one device as they lie on another, through every space that both are in. */
function shared(one: Footprint, other: Footprint, ranges: readonly Range[]): readonly Range[] {
  const found = new Map<string, Range>();
  for (const here of one.own) {
    for (const there of other.own.filter((range) => range.space === here.space)) {
      for (const range of ranges) {
        const translated = translate(range, here, there);
        if (translated !== null) found.set(`${translated.offset} ${translated.length}`, translated);
      }
    }
  }
  return [...found.values()];
}

function translate({ offset, length }: Range, here: SectorRange, there: SectorRange): Range | null {
  const toSpace = (here.startSector - (here.atSector ?? 0)) * SECTOR_BYTES;
  const [hereStart, hereEnd] = edges(here);
  const [thereStart, thereEnd] = edges(there);
  const start = Math.max(offset + toSpace, hereStart, thereStart);
  const end = Math.min(offset + length + toSpace, hereEnd, thereEnd);
  if (start >= end) return null;
  return { offset: start - (there.startSector - (there.atSector ?? 0)) * SECTOR_BYTES, length: end - start };
}

const edges = (range: SectorRange): readonly [number, number] => [range.startSector * SECTOR_BYTES, (range.startSector + range.sectors) * SECTOR_BYTES];

async function settlePlace(place: Place, flushes: boolean, gotOn: GotOn): Promise<void> {
  const { number, writable } = openPlace(place.path, flushes);
  try {
    const arrived = (await writeBackAndDrop(number, place.ranges, gotOn)) && (!writable || (await flush(number, place, gotOn)));
    if (!arrived) throw new XvdError('DEVICE_FAILED', `${place.path} did not take all that was written to it`);
    for (const range of place.ranges) await dropForGood(number, place, range, gotOn);
  } finally {
    closeSync(number);
  }
}

function openPlace(path: string, flushes: boolean): { number: number; writable: boolean } {
  try {
    if (flushes) return { number: openSync(path, constants.O_RDWR), writable: true };
  } catch {
    // Read-only: nothing of ours can be dirty in it, but pages can be there.
  }
  try {
    return { number: openSync(path, constants.O_RDONLY), writable: false };
  } catch (error) {
    throw new XvdError('FENCE_UNPROVED', `${path} shows the same sectors, and can't be asked what it caches: ${(error as Error).message}`, { cause: error });
  }
}

/** All is sent on its way first, as the device takes most at once then; what has arrived is dropped meanwhile, which is a fifth of the work. */
async function writeBackAndDrop(fd: number, ranges: readonly Range[], gotOn: GotOn): Promise<boolean> {
  const sent = beginAll(fd, ranges).catch(() => undefined);
  try {
    const cached = ranges.flatMap((range) => pieces(range, LOOK_BYTES)).filter(({ offset, length }) => cachedPages(fd, offset, length) !== 0);
    for (const { offset, length } of cached.flatMap((range) => pieces(range, PIECE_BYTES))) {
      if (!(await writeBackRange(fd, offset, length))) return false;
      await dropRange(fd, offset, length);
      gotOn();
    }
  } finally {
    await sent;
  }
  return failedNowhere(fd, ranges);
}

/** Of pages that are gone from the cache, too: the kernel tells each open file of an error once, whatever range it asks about. */
const failedNowhere = async (fd: number, [range]: readonly Range[]): Promise<boolean> => range === undefined || writeBackRange(fd, range.offset, 1);

/** What goes wrong is told by who waits for it. */
async function beginAll(fd: number, ranges: readonly Range[]): Promise<void> {
  for (const { offset, length } of ranges) await beginWriteBack(fd, offset, length);
}

function pieces({ offset, length }: Range, bytes: number): readonly Range[] {
  return Array.from({ length: Math.ceil(length / bytes) }, (_, index) => ({ offset: offset + index * bytes, length: Math.min(bytes, length - index * bytes) }));
}

/** A block device has one cache for all; what a file has to write down besides its bytes may be of some of them. */
async function flush(fd: number, { kind, ranges }: Place, gotOn: GotOn): Promise<boolean> {
  for (const { offset, length } of kind === 'block' ? ranges.slice(0, 1) : ranges) {
    if (!(await syncRange(fd, offset, length))) return false;
    gotOn();
  }
  return true;
}

async function dropForGood(fd: number, { path, kind }: Place, { offset, length }: Range, gotOn: GotOn): Promise<void> {
  for (let round = 0; ; round += 1) {
    const pages = cachedPages(fd, offset, length);
    if (pages === 0) return;
    if (pages === null) throw new XvdError('FENCE_UNPROVED', `the kernel does not tell what ${path} caches`);
    if (round === ROUNDS) throw new XvdError('FENCE_UNPROVED', `${path} still caches pages of bytes ${offset}+${length}`);
    const around = round === 0 ? 0 : FOLIO_BYTES;
    const start = Math.max(0, offset - around);
    if (around > 0) await writeBackRange(fd, start, length + 2 * around);
    await dropRange(fd, start, offset - start + length + around);
    if (round === ROUNDS - 2 && kind === 'block') await flushNode(fd);
    gotOn();
  }
}
