// What must be readable of every disk: zeros before its owner has written, then what its owner wrote and nothing else. Each owner
// fills its disk with blocks of its own; a block of another owner, or a marker of a wipe, is a leak.

import assert from 'node:assert/strict';

import { MIB } from '../../src/base/units.ts';
import type { DiskId } from '../../src/core/types.ts';
import type { Piece, Seen, World } from './world.ts';

const BLOCK = 4096;
const zeros = Buffer.alloc(BLOCK);

/**
 * `earlier`: it had written, and then its disk was to be wiped, as a recovery had taken the catalog back to before the wiping's end.
 * `mixed`: another recovery has undone that: what the wiping had not reached is its owner's still.
 */
type Owner = { readonly createdAt: number; written: boolean; earlier: boolean; mixed: boolean };
const ownerOf = (createdAt: number, written: boolean): Owner => ({ createdAt, written, earlier: false, mixed: false });
export type Owners = {
  /** Every disk holds what it may hold, and lost what it says; what was made by a killed command counts from here on. */
  prove(when: string, only?: readonly DiskId[]): Promise<void>;
  /** The catalog may be another one by now. */
  recovered(): void;
  /** Its owner writes all of a living disk, as after an attach. */
  fill(diskId: DiskId): Promise<void>;
  /** A disk that was there before the campaign, written by its owner. */
  adopt(diskId: DiskId): Promise<void>;
};

/** Of a device that was used by somebody unknown before it came. */
export const ghost = (length: number): Uint8Array => Buffer.alloc(length, blockOf(0));
const blockOf = (id: number): Buffer => Buffer.alloc(BLOCK, `owner ${String(id).padStart(9, '0')}\n`);

export function watchOwners(world: World): Owners {
  const owners = new Map<DiskId, Owner>();
  let highest = 0;
  const write = async ({ disk, pieces }: Seen): Promise<void> => {
    // As an attach for writing does: dirty, durably, before the first byte.
    await world.within(({ unguarded }) =>
      unguarded.catalog.write(async (writer) =>
        writer.setRuns(
          disk.id,
          (await writer.runs(disk.id)).map((run) => ({ ...run, clean: false })),
        ),
      ),
    );
    for (const piece of used(pieces, disk.sizeBytes)) world.write(piece, Buffer.alloc(piece.length, blockOf(disk.id)));
    owners.set(disk.id, ownerOf(disk.createdAt, true));
  };
  const meet = async (seen: Seen, when: string): Promise<Owner> => {
    const { disk, state } = seen;
    const known = owners.get(disk.id);
    if (known !== undefined) {
      assert.equal(disk.createdAt, known.createdAt, `${when}: vd:${disk.id} is another disk than before`);
      return known;
    }
    assert.ok(disk.id > highest, `${when}: vd:${disk.id} bears a number that was given before (${highest})`);
    highest = disk.id;
    const owner = ownerOf(disk.createdAt, false);
    owners.set(disk.id, owner);
    // Made without wiping: its owner asked to see what is there, and writes over it.
    if (disk.labels['wiped'] === 'no' && state === 'live') await write(seen);
    return owners.get(disk.id) ?? owner;
  };
  const find = async (diskId: DiskId): Promise<Seen> => {
    const seen = (await world.look()).disks.find(({ disk }) => disk.id === diskId);
    assert.ok(seen !== undefined, `vd:${diskId} is there`);
    return seen;
  };
  return {
    async prove(when, only) {
      for (const seen of (await world.look()).disks) {
        if (only?.includes(seen.disk.id) === false) continue;
        const owner = await meet(seen, when);
        const { disk, state, pieces } = seen;
        proveLoss(seen, when);
        // To be wiped, or taken over by the next: nobody can look at it.
        if (disk.preparing) Object.assign(owner, { written: false, earlier: owner.earlier || owner.written, mixed: false });
        else if (disk.labels['wiped'] !== 'no' || owner.written) proveBlocks(world, seen, owner, when);
        if (state === 'live') assert.equal(sum(used(pieces, disk.sizeBytes)), disk.sizeBytes, `${when}: vd:${disk.id} is whole`);
      }
    },
    recovered() {
      for (const owner of owners.values()) if (owner.earlier && !owner.written) owner.mixed = true;
    },
    fill: async (diskId) => write(await find(diskId)),
    async adopt(diskId) {
      const seen = await find(diskId);
      highest = Math.max(highest, diskId);
      owners.set(diskId, ownerOf(seen.disk.createdAt, true));
      for (const piece of used(seen.pieces, seen.disk.sizeBytes)) world.write(piece, Buffer.alloc(piece.length, blockOf(diskId)));
    },
  };
}

const sum = (pieces: readonly Piece[]): number => pieces.reduce((total, { length }) => total + length, 0);

/**
 * Without the slack of the last extent, which its owner never wrote. Of a disk that lost an extent before its last one (a recovery can
 * leave such) the pieces do not say whether they end with the last: then so much of their end is not looked at.
 */
function used(pieces: readonly Piece[], sizeBytes: number): Piece[] {
  let left = Math.min(sizeBytes, sum(pieces) - slackOf(sizeBytes));
  return pieces.flatMap((piece) => {
    const length = Math.max(0, Math.min(left, piece.length));
    left -= length;
    return length === 0 ? [] : [{ ...piece, length }];
  });
}

/** Of extents of 1 MiB. */
const slackOf = (sizeBytes: number): number => (MIB - (sizeBytes % MIB)) % MIB;

function proveLoss({ disk, pieces }: Seen, when: string): void {
  assert.equal(disk.lostBytes, Math.max(0, disk.sizeBytes - sum(pieces)), `${when}: what vd:${disk.id} has lost`);
}

function proveBlocks(world: World, { disk, state, pieces }: Seen, { written, mixed }: Owner, when: string): void {
  const own = blockOf(disk.id);
  for (const piece of used(pieces, disk.sizeBytes)) {
    const data = Buffer.from(world.read(piece).buffer);
    if (data.equals(written ? Buffer.alloc(piece.length, own) : Buffer.alloc(piece.length))) continue;
    for (let at = 0; at < data.length; at += BLOCK) {
      const block = data.subarray(at, at + BLOCK);
      const shown = `${JSON.stringify(block.toString('latin1', 0, 16))} at ${piece.offset + at} of ${piece.file}`;
      if (mixed && block.equals(own)) continue;
      if (!block.equals(written ? own : zeros)) assert.fail(`${when}: vd:${disk.id} (${state}, ${written ? 'written' : 'fresh'}) shows ${shown}`);
    }
  }
}
