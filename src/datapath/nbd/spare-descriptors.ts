// Where a connection process has its descriptors, and how a spare one gets them there. Node's own descriptors begin behind the
// places that a spare was started with, so nothing of Node's is ever written over.

import { closeSync, writeSync } from 'node:fs';
import type { Syscalls } from '../../host/syscalls.ts';

export const SOCKET_FD = 0;
export const OUTPUT_FD = 1;
const LOG_FD = 2;
const ALIVE_FD = 3;
export const FIRST_DEVICE_FD = 4;
/** A VBD on more devices gets a process of its own start. */
export const SPARE_DEVICES = 12;
const CONTROL_FD = FIRST_DEVICE_FD + SPARE_DEVICES;

/** Waits until it is told what to serve; the VBD's folder, or null when nobody will tell any more. */
export function becomeConnection(syscalls: Syscalls): string | null {
  syscalls.makeBlocking(CONTROL_FD);
  const told = syscalls.receiveDescriptors(CONTROL_FD);
  if (told === null) return null;
  const [socket, log, alive, ...devices] = told.descriptors;
  if (socket === undefined || log === undefined || alive === undefined) return null;
  syscalls.makeBlocking(socket);
  const places = new Map([
    [SOCKET_FD, socket],
    [OUTPUT_FD, socket],
    [LOG_FD, log],
    [ALIVE_FD, alive],
    ...devices.map((fd, index): [number, number] => [FIRST_DEVICE_FD + index, fd]),
  ]);
  for (const [place, fd] of places) if (syscalls.moveDescriptor(fd, place) < 0) return null;
  for (const fd of told.descriptors) closeSync(fd);
  for (let unused = FIRST_DEVICE_FD + devices.length; unused < CONTROL_FD; unused += 1) closeSync(unused);
  writeSync(CONTROL_FD, 'y');
  closeSync(CONTROL_FD);
  return Buffer.from(told.message).toString();
}
