// What an old command is, and how its numbers are read.

import { XvdError } from '../../base/error.ts';
import { MIB } from '../../base/units.ts';
import type { Xvd } from '../../library/open-xvd.ts';
import type { Settings } from '../../daemon/settings.ts';

export type Old = {
  readonly xvd: Xvd;
  readonly settings: Settings;
  readonly args: readonly string[];
  readonly force: boolean;
  readonly out: (line: string) => void;
  readonly err: (line: string) => void;
};

export type OldCommand = {
  readonly usage: string;
  readonly arguments: readonly [least: number, most: number];
  /** Only format made the database. */
  readonly makesDatabase?: boolean;
  /** false = failed, and said so in its old words. */
  readonly run: (old: Old) => Promise<boolean>;
};

/** Whole numbers only: 0 and negative sizes were taken (F10). */
export function oldNumber(text: string, what: string, least: number): number {
  const value = /^\d{1,12}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least)) throw new XvdError('VALUE_INVALID', `${what} must be a whole number from ${least}, not '${text}'`);
  return value;
}

export const oldBytes = (text: string, what: string): number => oldNumber(text, what, 1) * MIB;
