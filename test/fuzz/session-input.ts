// What the fuzzer feeds: a case is a list of parts (options, requests, noise) and how they reach the server. Cases are made
// whole and then bent, so that most of a case still gets past the checks that come first.

import { CMD, OPT } from '../../src/datapath/nbd/wire/constants.ts';
import { goData, optionBytes, requestBytes } from '../../src/datapath/nbd/fixture-client.ts';

export type Draw = (limit: number) => number;
export type Case = {
  readonly parts: readonly Buffer[];
  /** 'pulled': the loop of a socket in blocking calls; 'pushed': the one behind TLS. */
  readonly mode: 'pulled' | 'pushed';
  readonly streamFrom: number;
  readonly piecesSeed: number;
  readonly readOnly: boolean;
};

export const DISK_BYTES = 192 * 1024;
const PARTS = 60;
const CASE_BYTES = 512 * 1024;
const NUMBERS = [
  0,
  1,
  2,
  3,
  7,
  16,
  27,
  28,
  255,
  511,
  512,
  4095,
  4096,
  65_535,
  65_536,
  65_537,
  DISK_BYTES - 1,
  DISK_BYTES,
  DISK_BYTES + 1,
  2 ** 25,
  2 ** 25 + 1,
  2 ** 31,
  2 ** 32 - 1,
];
const NAMES = ['', 'fuzz/xvda@1', 'fuzz/xvda@2', 'x'.repeat(300), '\u00e4'];
const CONTEXT_NAMES = ['base:allocation', 'xvd:run', 'xvd:device', 'base:', 'xvd:', 'qemu:dirty-bitmap:b', ''];

const oneOf = <T>(draw: Draw, list: readonly T[]): T => list[draw(list.length)] as T;
const sizeOf = (parts: readonly Buffer[]): number => parts.reduce((sum, part) => sum + part.length, 0);

function metaData(draw: Draw): Buffer {
  const name = Buffer.from(oneOf(draw, NAMES));
  const queries = Array.from({ length: draw(4) }, () => Buffer.from(oneOf(draw, CONTEXT_NAMES)));
  const counted = (text: Buffer): Buffer => Buffer.concat([u32(text.length), text]);
  return Buffer.concat([counted(name), u32(queries.length), ...queries.map(counted)]);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function option(draw: Draw): Buffer {
  const kind = draw(8);
  if (kind < 2) return optionBytes(OPT.STRUCTURED_REPLY);
  if (kind === 2) return optionBytes(OPT.SET_META_CONTEXT, metaData(draw));
  if (kind === 3) return optionBytes(OPT.LIST_META_CONTEXT, metaData(draw));
  if (kind === 4) return optionBytes(OPT.INFO, goData(oneOf(draw, NAMES), [draw(5), draw(5)]));
  if (kind === 5) return optionBytes(OPT.LIST);
  return optionBytes(draw(14), Buffer.alloc(draw(30), draw(256)));
}

function go(draw: Draw): Buffer {
  const name = oneOf(draw, NAMES.slice(0, 2));
  return draw(5) === 0 ? optionBytes(OPT.EXPORT_NAME, Buffer.from(name)) : optionBytes(OPT.GO, goData(name, [draw(4)]));
}

function request(draw: Draw): Buffer {
  const type = oneOf(draw, [CMD.READ, CMD.WRITE, CMD.FLUSH, CMD.TRIM, CMD.CACHE, CMD.WRITE_ZEROES, CMD.BLOCK_STATUS, draw(12)]);
  const block = oneOf(draw, [1, 512, 4096]);
  const offset = draw(3) === 0 ? oneOf(draw, NUMBERS) : block * draw(DISK_BYTES / block);
  const length = draw(4) === 0 ? oneOf(draw, NUMBERS) : block * (1 + draw(Math.ceil(40_000 / block)));
  const flags = draw(3) === 0 ? draw(32) : 0;
  const cookie = draw(2 ** 31);
  const payload = type === CMD.WRITE ? Buffer.alloc(Math.min(length, 100_000), draw(256)) : Buffer.alloc(0);
  return Buffer.concat([requestBytes({ type, flags, offset, length, cookie }), payload]);
}

const many = (draw: Draw, most: number, make: (draw: Draw) => Buffer): Buffer[] => Array.from({ length: draw(most) }, () => make(draw));

export function freshCase(draw: Draw): Case {
  const greeting = u32(draw(10) === 0 ? draw(8) : 3);
  const contexts = optionBytes(OPT.SET_META_CONTEXT, metaData(draw));
  const structured = draw(3) > 0 ? [optionBytes(OPT.STRUCTURED_REPLY), ...(draw(2) > 0 ? [contexts] : [])] : [];
  const parts = [greeting, ...structured, ...many(draw, 4, option), go(draw), ...many(draw, 14, request)];
  return { parts, ...wayIn(draw) };
}

function wayIn(draw: Draw): Omit<Case, 'parts'> {
  return {
    mode: draw(3) === 0 ? 'pushed' : 'pulled',
    streamFrom: oneOf(draw, [1000, 64 * 1024, Infinity]),
    piecesSeed: draw(2 ** 31),
    readOnly: draw(8) === 0,
  };
}

function bend(draw: Draw, part: Buffer): Buffer {
  const bent = Buffer.from(part);
  const at = draw(Math.min(bent.length, 64));
  const kind = draw(5);
  if (bent.length === 0 || kind === 0) return Buffer.concat([bent, Buffer.alloc(draw(40), draw(256))]);
  if (kind === 1) bent[at] = (bent[at] ?? 0) ^ (1 << draw(8));
  else if (kind === 2) bent[at] = draw(256);
  else if (kind === 3 && bent.length >= 4) bent.writeUInt32BE(oneOf(draw, NUMBERS), Math.min(at - (at % 4), bent.length - 4));
  else return bent.subarray(0, draw(bent.length + 1));
  return bent;
}

/** One case out of another, and of parts of a second. */
export function mutated(draw: Draw, base: Case, other: Case): Case {
  let parts: Buffer[] = [...base.parts];
  for (let left = 1 + draw(4); left > 0; left -= 1) {
    const at = draw(parts.length + 1);
    const kind = draw(7);
    const part = parts[at];
    if (kind === 0) parts.splice(at, 0, request(draw));
    else if (kind === 1) parts.splice(at, 0, option(draw));
    else if (kind === 2) parts.splice(at, 1);
    else if (kind === 3) parts = [...parts.slice(0, at), ...other.parts.slice(draw(other.parts.length + 1))];
    else if (part !== undefined) parts[at] = kind === 4 ? Buffer.concat([part, part]) : bend(draw, part);
  }
  while (parts.length > PARTS || sizeOf(parts) > CASE_BYTES) parts.pop();
  const { parts: _, ...way } = base;
  return { parts, ...(draw(3) === 0 ? wayIn(draw) : way) };
}
