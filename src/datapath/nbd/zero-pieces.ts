// Zeroes on the devices of a VBD: by the filesystem or the drive where it can, else by writing them. What a device can do is known
// before anything is touched, so that a request that must be fast everywhere, and can't be, has changed nothing.

import { fstatSync, readFileSync } from 'node:fs';
import { deviceNumber } from '../../core/device-number.ts';
import type { VbdPlan } from '../../core/types.ts';
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE } from '../../host/syscalls.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import type { DeviceIo } from './device-io.ts';

export type Piece = { readonly device: number; readonly deviceOffset: number; readonly length: number; readonly segment: number };
export type HowToZero = { readonly mayPunch: boolean; readonly fastOnly: boolean };

export type ZeroOptions = {
  readonly plan: Pick<VbdPlan, 'devices' | 'blockBytes'>;
  readonly fdOf: (device: number) => number;
  readonly syscalls: Syscalls | null;
  readonly write: DeviceIo['writeAll'];
  /** Called for each segment after it was written, or may have been. */
  readonly mark: (segment: number) => void;
};

/** false = it would be no faster than writing, which the caller asked not to do: nothing has been changed, unless a device refused what it says it can. */
export type ZeroPieces = (pieces: readonly Piece[], how: HowToZero) => boolean;

const ZEROES_BYTES = 1024 * 1024;
const EOPNOTSUPP = 95;
const PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
const ZERO = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;

export function makeZeroPieces({ plan, fdOf, syscalls, write, mark }: ZeroOptions): ZeroPieces {
  const punches: boolean[] = [];
  /** Of files: whether their filesystem zeroes ranges is found out only by doing it. */
  const zeroes: boolean[] = [];
  // Most connections never need it, and it is a megabyte.
  let written: Buffer | null = null;
  const isFile = ({ device }: Piece): boolean => plan.devices[device]?.kind === 'file';
  const canPunch = (piece: Piece, calls: Syscalls): boolean => {
    const aligned = isFile(piece) || (piece.deviceOffset % plan.blockBytes === 0 && piece.length % plan.blockBytes === 0);
    return aligned && (punches[piece.device] ??= isFile(piece) ? filePunches(fdOf(piece.device), calls) : driveZeroes(fdOf(piece.device)));
  };
  const allocate = ({ device, deviceOffset, length, segment }: Piece, mode: number, calls: Syscalls): boolean => {
    const result = calls.fallocate(fdOf(device), mode, deviceOffset, length);
    mark(segment);
    if (mode === ZERO && (result === 0 || result === -EOPNOTSUPP)) zeroes[device] = result === 0;
    return result === 0;
  };
  const zeroSomehow = (piece: Piece, mayPunch: boolean): void => {
    if (syscalls !== null && mayPunch && canPunch(piece, syscalls) && allocate(piece, PUNCH, syscalls)) return;
    if (syscalls !== null && allocate(piece, ZERO, syscalls)) return;
    const { device, deviceOffset, length, segment } = piece;
    written ??= Buffer.alloc(ZEROES_BYTES);
    try {
      for (let done = 0; done < length; done += written.length) write(fdOf(device), written, 0, Math.min(written.length, length - done), deviceOffset + done);
    } finally {
      mark(segment);
    }
  };
  const punched = (piece: Piece, calls: Syscalls): boolean => {
    if (allocate(piece, PUNCH, calls)) return true;
    if (isFile(piece)) return false;
    // It refuses what it says it can, and the kernel has thrown away what was not written yet: zeroes are what is left to give.
    punches[piece.device] = false;
    zeroSomehow(piece, false);
    return true;
  };
  const zeroFast = (pieces: readonly Piece[], mayPunch: boolean): boolean => {
    if (syscalls === null) return false;
    if (mayPunch && pieces.every((piece) => canPunch(piece, syscalls))) return pieces.every((piece) => punched(piece, syscalls));
    // For a drive that has no way of its own the kernel would write zeros here, as slowly as anybody.
    if (!pieces.every((piece) => isFile(piece) && zeroes[piece.device] !== false)) return false;
    const isUnknown = ({ device }: Piece): boolean => zeroes[device] === undefined;
    const unknown = pieces.filter(isUnknown);
    if (new Set(unknown.map(({ device }) => device)).size > 1) return false;
    // The one that is not known comes first: where it can't, nothing has been changed.
    return [...unknown, ...pieces.filter((piece) => !isUnknown(piece))].every((piece) => allocate(piece, ZERO, syscalls));
  };
  return (pieces, { mayPunch, fastOnly }) => {
    if (fastOnly) return zeroFast(pieces, mayPunch);
    for (const piece of pieces) zeroSomehow(piece, mayPunch);
    return true;
  };
}

/** Asked where nothing is: behind the end of the file. */
const filePunches = (fd: number, { fallocate }: Syscalls): boolean => fallocate(fd, PUNCH, Math.ceil(fstatSync(fd).size / 4096) * 4096, 4096) === 0;

/**
 * Asked without trying: before the kernel finds that a drive can't, it has thrown away what its cache held of the range, also what was
 * not written yet (blkdev_fallocate).
 */
function driveZeroes(fd: number): boolean {
  const drive = `/sys/dev/block/${deviceNumber(fstatSync(fd).rdev)}`;
  // A partition has no queue of its own.
  for (const queue of ['queue', '../queue']) {
    try {
      return Number(readFileSync(`${drive}/${queue}/write_zeroes_max_bytes`, 'latin1')) > 0;
    } catch {
      continue;
    }
  }
  return false;
}
