// Where a connection process has its descriptors, and how one that was started without them gets them there. Node's own
// descriptors begin behind the places that it was started with, so nothing of Node's is ever written over.

import { closeSync, writeSync } from 'node:fs';
import type { Syscalls } from '../../host/syscalls.ts';

export const SOCKET_FD = 0;
export const OUTPUT_FD = 1;
const LOG_FD = 2;
const ALIVE_FD = 3;
export const FIRST_DEVICE_FD = 4;
/** A VBD that needs more (two for each device) gets a process of its own start; over TLS it is not served. */
export const SPARE_PLACES = 124;
/** In the environment of a spare, where programs of other versions do not mind it: the folder to rehearse with. */
export const REHEARSAL = 'XVD_REHEARSAL';
/** To whoever started it. */
export const CONTROL_FD = FIRST_DEVICE_FD + SPARE_PLACES;

export type VbdDescriptors = { readonly log: number; readonly alive: number; readonly devices: readonly number[] };

/** false when a place can't be had. */
export function placeDescriptors(syscalls: Syscalls, { log, alive, devices }: VbdDescriptors): boolean {
  const places: readonly (readonly [number, number])[] = [
    [LOG_FD, log],
    [ALIVE_FD, alive],
    ...devices.map((fd, index) => [FIRST_DEVICE_FD + index, fd] as const),
  ];
  if (places.some(([place, fd]) => syscalls.moveDescriptor(fd, place) < 0)) return false;
  closeUnused(syscalls, FIRST_DEVICE_FD + devices.length);
  return true;
}

function closeUnused(syscalls: Syscalls, from: number): void {
  if (from >= CONTROL_FD || syscalls.closeRange(from, CONTROL_FD - 1) === 0) return;
  // A kernel before 5.9, or one that must not be asked.
  for (let unused = from; unused < CONTROL_FD; unused += 1) closeSync(unused);
}

/** What the start and the rehearsal have left goes back now: 2.5 MB of the 13 that a spare has, and it would be collected when a client waits (4 of 10 ms
 *  until its greeting). The thorough kind, which leaves no half-used pages, and keeps what has been compiled. */
function collectGarbage(): void {
  globalThis.gc?.({ execution: 'sync', flavor: 'last-resort', type: 'major' });
}

/** Waits until it is told what to serve, after it has rehearsed and said that it waits; the VBD's folder, or null when nobody will tell any more. */
export function becomeConnection(syscalls: Syscalls, rehearse: () => void): string | null {
  syscalls.makeBlocking(CONTROL_FD);
  // Each to its own place: nothing but the way there.
  placeDescriptors(syscalls, { log: LOG_FD, alive: ALIVE_FD, devices: Array.from({ length: SPARE_PLACES }, (_, index) => FIRST_DEVICE_FD + index) });
  rehearse();
  collectGarbage();
  syscalls.trimHeap();
  writeSync(CONTROL_FD, 'w');
  const told = syscalls.receiveDescriptors(CONTROL_FD);
  if (told === null) return null;
  const [socket, log, alive, ...devices] = told.descriptors;
  if (socket === undefined || log === undefined || alive === undefined) return null;
  syscalls.makeBlocking(socket);
  if (syscalls.moveDescriptor(socket, SOCKET_FD) < 0 || syscalls.moveDescriptor(socket, OUTPUT_FD) < 0) return null;
  if (!placeDescriptors(syscalls, { log, alive, devices })) return null;
  for (const fd of told.descriptors) closeSync(fd);
  try {
    writeSync(CONTROL_FD, 'y');
  } catch {} // Who gave it has ended: it is on record, and serves.
  closeSync(CONTROL_FD);
  return Buffer.from(told.message).toString();
}
