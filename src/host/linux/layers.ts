// What stands on what: from a node or file down to ranges on whole drives and in files. A stack without fixed ranges counts
// as all of what is below it. Facts come from a `LayerFacts`, read once for one question.

import { sectors, SECTOR_BYTES } from '../../base/units.ts';
import type { Footprint, SectorRange } from '../../core/types.ts';
import type { LinearPiece } from './dm-table.ts';
import type { Mount } from './mountinfo.ts';
import type { BlockNode } from './sys-block.ts';

/** `filesystem`: the number that its mounts have; differs from the device of stat() on btrfs. */
export type FileFacts = {
  readonly device: string;
  readonly inode: number;
  readonly sizeBytes: number;
  readonly filesystem: string;
  readonly path?: string;
};
/** What a loop device is on. `gone`: what it was on answers no more, or is the data path of a VBD: nothing is below it that is not told of elsewhere. */
export type LoopBacking =
  | { readonly kind: 'file'; readonly file: FileFacts; readonly offsetBytes: number; readonly readOnly: boolean; readonly path: string }
  | { readonly kind: 'block'; readonly number: string; readonly offsetBytes: number; readonly readOnly: boolean; readonly path: string }
  | { readonly kind: 'gone'; readonly path: string };

export type LayerFacts = {
  node(number: string): BlockNode | null;
  loop(number: string): LoopBacking | null;
  /** null: it has no fixed ranges. */
  table(node: BlockNode): Promise<readonly LinearPiece[] | null>;
  /** The block device under a filesystem: its number, or that of the device that it was mounted from. null: it has none. */
  filesystemDevice(number: string): readonly string[];
};

/** A range of a node; `at` is where it lies in what was asked about. */
type Piece = { readonly number: string; readonly start: number; readonly count: number; readonly at: number };
type Found = { own: SectorRange[]; below: SectorRange[]; via: Set<string> };

/** Deeper than any real stack; a loop in the facts ends here. */
const DEPTH = 16;

export const driveSpace = (number: string): string => `drive:${number}`;
export const filesystemSpace = (number: string): string => `fs:${number}`;
export const fileSpace = (file: FileFacts): string => `file:${file.device}:${file.inode}`;

export async function footprintOfNode(facts: LayerFacts, number: string): Promise<Footprint> {
  const node = facts.node(number);
  const found: Found = { own: [], below: [], via: new Set() };
  if (node !== null) await resolve(facts, { number, start: 0, count: node.sizeSectors, at: 0 }, found, 0);
  return finish(found);
}

export async function footprintOfFile(facts: LayerFacts, file: FileFacts): Promise<Footprint> {
  const found: Found = { own: [], below: [], via: new Set() };
  await resolveFile(facts, file, { start: 0, count: Math.ceil(file.sizeBytes / SECTOR_BYTES), at: 0 }, found, 0);
  return finish(found);
}

/** Of what a loop device or another stack stands on, without its own space: it as a user of what is below. */
export async function footprintBelow(facts: LayerFacts, number: string): Promise<Footprint> {
  const whole = await footprintOfNode(facts, number);
  const own = whole.own.filter((range) => range.space !== driveSpace(number));
  return own.length > 0 ? { ...whole, own } : { own: whole.below, below: [], via: whole.via ?? [] };
}

const finish = ({ own, below, via }: Found): Footprint => ({ own, below, via: [...via] });

const rangeOf = (space: string, device: string | undefined, { start, count, at }: Omit<Piece, 'number'>): SectorRange => ({
  space,
  startSector: sectors(start),
  sectors: sectors(count),
  ...(at === 0 ? {} : { atSector: sectors(at) }),
  ...(device === undefined ? {} : { device }),
});

async function resolve(facts: LayerFacts, piece: Piece, found: Found, depth: number): Promise<void> {
  const node = facts.node(piece.number);
  if (node === null || piece.count <= 0 || depth > DEPTH) return;
  if (node.partition !== null) {
    await resolve(facts, { ...piece, number: node.partition.drive, start: piece.start + node.partition.startSector }, found, depth + 1);
    return;
  }
  if (found.own.some((known) => isSame(known, rangeOf(driveSpace(node.number), undefined, piece)))) return; // the other path of it came this way
  found.own.push(rangeOf(driveSpace(node.number), node.path, piece));
  for (const path of siblings(facts, node)) await resolve(facts, { ...piece, number: path }, found, depth + 1);
  const loop = facts.loop(node.number);
  if (loop !== null) await resolveLoop(facts, loop, piece, found, depth);
  if (node.slaves.length === 0 && node.dm === null) return;
  found.via.add(driveSpace(node.number));
  if (node.dm?.uuid.startsWith('mpath-') === true) {
    for (const path of node.slaves) await resolve(facts, { ...piece, number: path }, found, depth + 1);
    return;
  }
  const table = node.dm === null ? null : await facts.table(node);
  if (table === null) await addBelow(facts, node.slaves, found, depth);
  else for (const part of table) await resolve(facts, cut(piece, part), found, depth + 1);
}

const isSame = (one: SectorRange, other: SectorRange): boolean =>
  one.space === other.space && one.startSector === other.startSector && one.sectors === other.sectors && one.atSector === other.atSector;

/** The other paths of one multipath device: the same sectors. */
function siblings(facts: LayerFacts, node: BlockNode): readonly string[] {
  const multipath = node.holders.map((holder) => facts.node(holder)).filter((holder) => holder?.dm?.uuid.startsWith('mpath-') === true);
  return multipath.flatMap((holder) => holder?.slaves ?? []).filter((path) => path !== node.number);
}

function cut(piece: Piece, part: LinearPiece): Piece {
  const start = Math.max(piece.start, part.atSector);
  const end = Math.min(piece.start + piece.count, part.atSector + part.sectors);
  return { number: part.device, start: part.deviceSector + start - part.atSector, count: end - start, at: piece.at + start - piece.start };
}

async function resolveLoop(facts: LayerFacts, loop: LoopBacking, piece: Piece, found: Found, depth: number): Promise<void> {
  found.via.add(driveSpace(piece.number));
  if (loop.kind === 'gone') return;
  const start = piece.start + Math.floor(loop.offsetBytes / SECTOR_BYTES);
  if (loop.kind === 'block') await resolve(facts, { ...piece, number: loop.number, start }, found, depth + 1);
  else await resolveFile(facts, loop.file, { ...piece, start }, found, depth + 1);
}

async function resolveFile(facts: LayerFacts, file: FileFacts, range: Omit<Piece, 'number'>, found: Found, depth: number): Promise<void> {
  if (range.count > 0) found.own.push(rangeOf(fileSpace(file), file.path, range));
  found.via.add(filesystemSpace(file.filesystem));
  await addBelow(facts, facts.filesystemDevice(file.filesystem), found, depth);
}

/** All of each: no place in it is known. */
async function addBelow(facts: LayerFacts, numbers: readonly string[], found: Found, depth: number): Promise<void> {
  for (const number of numbers) {
    const under: Found = { own: [], below: [], via: found.via };
    const node = facts.node(number);
    if (node !== null) await resolve(facts, { number, start: 0, count: node.sizeSectors, at: 0 }, under, depth + 1);
    found.below.push(
      ...under.own.map(({ space, device, startSector, sectors: count }) => rangeOf(space, device, { start: startSector, count, at: 0 })),
      ...under.below,
    );
  }
}

/** `/dev/sda` for the mounts of one filesystem: the devices that it lies on. */
export function devicesOfMount(mount: Mount, lookUp: (path: string) => string | null): readonly string[] {
  if (!mount.number.startsWith('0:')) return [mount.number];
  if (!mount.source.startsWith('/')) return [];
  const number = lookUp(mount.source);
  return number === null ? [] : [number];
}

export const rangesOverlap = (one: SectorRange, other: SectorRange): boolean =>
  one.space === other.space && one.startSector < other.startSector + other.sectors && other.startSector < one.startSector + one.sectors;
