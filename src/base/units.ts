// Units as types, so that sectors, bytes and extents cannot be mixed by accident.
// All are safe integers: up to 8 PiB in bytes. A name carries its unit last: sizeBytes, startSector, timeoutMs.

import { invariant } from './invariant.ts';

declare const unit: unique symbol;
type Unit<Name extends string> = number & { readonly [unit]: Name };

export type Bytes = Unit<'bytes'>;
export type Sectors = Unit<'sectors'>;
export type Extents = Unit<'extents'>;
/** Milliseconds since 1970, UTC. */
export type WallMs = Unit<'wallMs'>;

export const SECTOR_BYTES = 512;
export const MIB = 1024 * 1024;
export const GIB = 1024 * MIB;

function checked<U>(value: number, name: string): U {
  invariant(Number.isSafeInteger(value) && value >= 0, `${name} must be a safe non-negative integer, not ${value}`);
  return value as U;
}

export const bytes = (value: number): Bytes => checked<Bytes>(value, 'bytes');
export const sectors = (value: number): Sectors => checked<Sectors>(value, 'sectors');
export const extents = (value: number): Extents => checked<Extents>(value, 'extents');
/** Wall time may be any safe integer: a broken clock is a fact to be judged, not a bug. */
export const wallMs = (value: number): WallMs => {
  invariant(Number.isSafeInteger(value), `wallMs must be a safe integer, not ${value}`);
  return value as WallMs;
};

export const bytesOfSectors = (count: Sectors): Bytes => bytes(count * SECTOR_BYTES);
/** Exact: a byte count that is no whole number of sectors is a bug of the caller. */
export function sectorsOfBytes(count: Bytes): Sectors {
  invariant(count % SECTOR_BYTES === 0, `${count} bytes are no whole number of sectors`);
  return sectors(count / SECTOR_BYTES);
}

export const roundUp = (value: number, multiple: number): number => Math.ceil(value / multiple) * multiple;
export const roundDown = (value: number, multiple: number): number => Math.floor(value / multiple) * multiple;
