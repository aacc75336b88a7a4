// Requests to the kernel's device-mapper, as bytes: struct dm_ioctl and what follows it (linux/dm-ioctl.h). Pure.

import { invariant } from '../../base/invariant.ts';

/** struct dm_ioctl: its size, and where its fields are. */
const HEADER = { bytes: 312, version: 0, size: 12, start: 16, targets: 20, flags: 28, event: 32, name: 48, uuid: 176, most: 128 } as const;
/** struct dm_target_spec, behind it the parameters with a zero, rounded up to 8. */
const TARGET = { bytes: 40, start: 0, length: 8, next: 20, kind: 24, kindBytes: 16 } as const;
/** The oldest that has what is used here. */
const VERSION = [4, 0, 0] as const;
const READ_ONLY = 1;
const UEVENT_GENERATED = 1 << 13;

/** _IOWR(0xfd, number, struct dm_ioctl) */
const command = (number: number): number => ((3 << 30) | (HEADER.bytes << 16) | (0xfd << 8) | number) >>> 0;
export const dmCommands = { create: command(3), remove: command(4), resume: command(6), load: command(9) } as const;

export type DmRequest = {
  readonly name: string;
  readonly uuid?: string;
  readonly readOnly?: boolean;
  /** In the words of `tableOf`. */
  readonly table?: string;
  /** What the event for udev bears as DM_COOKIE. */
  readonly cookie?: number;
};

export function encodeDmRequest({ name, uuid = '', readOnly = false, table = '', cookie = 0 }: DmRequest): Buffer {
  const targets = table
    .split('\n')
    .filter((line) => line !== '')
    .map(encodeTarget);
  const header = Buffer.alloc(HEADER.bytes);
  VERSION.forEach((part, index) => header.writeUInt32LE(part, HEADER.version + 4 * index));
  header.writeUInt32LE(
    targets.reduce((sum, { length }) => sum + length, header.length),
    HEADER.size,
  );
  header.writeUInt32LE(HEADER.bytes, HEADER.start);
  header.writeUInt32LE(targets.length, HEADER.targets);
  header.writeUInt32LE(readOnly ? READ_ONLY : 0, HEADER.flags);
  header.writeUInt32LE(cookie, HEADER.event);
  for (const [text, at] of [
    [name, HEADER.name],
    [uuid, HEADER.uuid],
  ] as const) {
    invariant(Buffer.byteLength(text) < HEADER.most, 'names fit the kernel’s structure');
    header.write(text, at);
  }
  return Buffer.concat([header, ...targets]);
}

/** Whether the kernel has told udev: then its rules count the cookie down. */
export const udevWasTold = (answer: Buffer): boolean => (answer.readUInt32LE(HEADER.flags) & UEVENT_GENERATED) !== 0;

function encodeTarget(line: string): Buffer {
  const [, start = '', sectors = '', kind = '', parameters = ''] = /^(\d+) (\d+) (\S+) ?(.*)$/.exec(line) ?? [];
  invariant(start !== '' && kind.length < TARGET.kindBytes, 'a line of a table is START SECTORS KIND PARAMETERS');
  const target = Buffer.alloc(TARGET.bytes + Math.ceil((Buffer.byteLength(parameters) + 1) / 8) * 8);
  target.writeBigUInt64LE(BigInt(start), TARGET.start);
  target.writeBigUInt64LE(BigInt(sectors), TARGET.length);
  target.writeUInt32LE(target.length, TARGET.next);
  target.write(kind, TARGET.kind);
  target.write(parameters, TARGET.bytes);
  return target;
}
