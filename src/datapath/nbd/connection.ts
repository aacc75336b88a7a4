// The program of one connection: a client's socket on descriptors 0 and 1, the write end of the VBD's pipe on 3, the
// VBD's devices from 4 on. It ends with its client, and answers to nobody else.
//
// Arguments: the folder of the VBD, or `--spare`, and all that comes later in a message; after how many idle milliseconds it
// parks, 0 = never; and, when it goes on after that, what was negotiated.

import { limits } from '../../base/limits.ts';
import { openSyscalls } from '../../host/syscalls.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { openSession } from './open-session.ts';
import { serveRequests } from './serve-requests.ts';
import { parkingOf, unparked } from './parked.ts';
import type { Agreed } from './parked.ts';
import { IDLE, socketOf } from './socket.ts';
import type { Socket } from './socket.ts';
import { becomeConnection, OUTPUT_FD, SOCKET_FD } from './spare-descriptors.ts';
import { oneExport, startHandshake } from './wire/handshake.ts';
import type { Export } from './wire/handshake.ts';

function main([argument = '.', parkAfter = '0', parked]: readonly string[]): void {
  const syscalls = openSyscalls();
  const folder = argument !== '--spare' ? argument : syscalls === null ? null : becomeConnection(syscalls);
  if (folder === null) return;
  const opened = openSession(folder, syscalls);
  const socket = socketOf(SOCKET_FD, OUTPUT_FD, syscalls);
  const agreed = parked === undefined ? negotiate(socket, opened.exported, deadlineOn(syscalls)) : unparked(opened.exported, parked);
  if (agreed === null) return;
  const { exported, descriptors } = opened;
  const parking = syscalls === null ? null : parkingOf({ folder, exported, descriptors, afterMs: Number(parkAfter), negotiated: agreed.negotiated }, syscalls);
  serveRequests({ ...opened.session(socket, agreed.negotiated), ...(parking === null ? {} : { park: parking }) }, agreed.rest);
}

/** A client that only holds a place loses it: its time is up when a call that waited says so, or when there is none left. */
function deadlineOn(syscalls: Syscalls | null): (over: boolean) => boolean {
  const until = performance.now() + limits.nbdHandshakeMs;
  return (over) => {
    const left = over ? 0 : until - performance.now();
    if (!over && left <= 0) return false;
    for (const fd of [SOCKET_FD, OUTPUT_FD]) syscalls?.limitWaiting(fd, left);
    return true;
  };
}

function negotiate(socket: Socket, exported: Export, mayWait: (over: boolean) => boolean): Agreed | null {
  const handshake = startHandshake(oneExport(exported));
  const sending = Buffer.allocUnsafeSlow(2 * limits.nbdOptionBytes);
  const send = (data: Uint8Array): void => {
    for (let done = 0; done < data.length; done += sending.length) {
      const part = data.subarray(done, done + sending.length);
      sending.set(part, 0);
      socket.write(sending, 0, part.length);
    }
  };
  mayWait(false);
  send(handshake.greeting);
  const input = Buffer.allocUnsafeSlow(2 * limits.nbdOptionBytes);
  for (let end = 0; ;) {
    if (!mayWait(false)) return null;
    const count = socket.read(input, end, input.length - end);
    if (count === 0 || count === IDLE) return null;
    end += count;
    const { consumed, output, next } = handshake.step(input.subarray(0, end));
    if (output.length > 0) send(Buffer.concat(output));
    if (next === 'end' || next === 'tls') return null;
    if (next !== 'more') mayWait(true);
    if (next !== 'more') return { negotiated: next.go, rest: Uint8Array.from(input.subarray(consumed, end)) };
    input.copyWithin(0, consumed, end);
    end -= consumed;
  }
}

try {
  main(process.argv.slice(2));
} catch (error) {
  // A client that went away mid-answer, or never said what it wants, is no failure; everything else goes to the log of the VBD.
  const { code = '' } = error as NodeJS.ErrnoException;
  if (!['EPIPE', 'ECONNRESET', 'EAGAIN'].includes(code)) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
