// The verdicts of the semantics (section Sharing), written down: who meets whom, and how unsafe that is. Nothing of the product
// is asked here.

import type { ExpertLevel, VbdMode } from '../../src/core/types.ts';

/** The columns of the semantics' table: by the mode of the new use and of the existing one. */
export const levels: Readonly<Record<VbdMode, Readonly<Record<VbdMode, ExpertLevel>>>> = {
  r: { r: 0, w: 1 },
  w: { r: 1, w: 2 },
};

export const news = [
  'VD',
  'partition',
  'whole drive',
  'drive around a mount',
  'file with a loop',
  'swap',
  'dm on a partition',
  'open device',
  'pool device',
] as const;
export type Use = (typeof news)[number];

/** `=` share sectors; `.` do not; `o` are one behind the other, which is no sharing (a disk and its pool, a device and its own
 *  mapping, a file and the mount that it lies on); `!` a device of the pool is nobody's to attach, whatever the level. */
const rows = `
                      VD  part  drive  around  file  swap  dm  open  pool
VD                    =   .     .      .       .     .     .   .     !
partition             .   =     =      .       .     .     =   .     !
whole drive           .   =     =      .       .     =     =   =     !
drive around a mount  .   .     .      =       .     .     .   .     !
file with a loop      .   .     .      .       =     .     .   .     !
swap                  .   .     =      .       .     =     .   .     !
dm on a partition     .   =     =      .       .     .     o   .     !
open device           .   .     =      .       .     .     .   =     !
pool device           o   .     .      .       .     .     .   .     !
`;

export type Relation = '=' | '.' | 'o' | '!';
export type Row = { readonly existing: Use; readonly now: Use; readonly relation: Relation };

export const pairs: readonly Row[] = rows
  .trim()
  .split('\n')
  .slice(1)
  .flatMap((line) => {
    const existing = news.find((name) => line.startsWith(name));
    const cells = line.slice(22).trim().split(/\s+/) as Relation[];
    if (existing === undefined || cells.length !== news.length) throw new RangeError(line);
    return cells.map((relation, at): Row => ({ existing, now: news[at] as Use, relation }));
  });
