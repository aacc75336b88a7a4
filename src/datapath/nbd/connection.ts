// The program of one connection: a client's socket on descriptors 0 and 1, the write end of the VBD's pipe on 3, the
// VBD's devices from 4 on. It ends with its client, and answers to nobody else.
//
// Arguments: the folder of the VBD, or `--spare`, and all that comes later in a message; after how many idle milliseconds it
// parks, 0 = never; and, when it goes on after that, what was negotiated.

import { openSyscalls } from '../../host/syscalls.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { becomeFlusher } from '../../host/io-flusher.ts';
import { deadlineOn, negotiate } from './negotiate.ts';
import { openSession } from './open-session.ts';
import { serveRequests } from './serve-requests.ts';
import { parkingOf, unparked } from './parked.ts';
import { rehearse } from './rehearse.ts';
import { socketOf } from './socket.ts';
import { becomeConnection, OUTPUT_FD, REHEARSAL, SOCKET_FD } from './spare-descriptors.ts';

/** So much of an answer can leave before its client takes it: the next one is read meanwhile (256 KiB sequential reads: 4.2 GB/s with the kernel's 208 KiB, 7.8 with this, no more with twice or four times as much). */
const SEND_BUFFER_BYTES = 512 * 1024;

function main([argument = '.', parkAfter = '0', parked]: readonly string[], syscalls: Syscalls | null): void {
  const folder = argument !== '--spare' ? argument : syscalls === null ? null : becomeConnection(syscalls, () => rehearse(syscalls, process.env[REHEARSAL]));
  if (folder === null) return;
  const opened = openSession(folder, syscalls);
  becomeFlusher(syscalls);
  syscalls?.growSendBuffer(OUTPUT_FD, SEND_BUFFER_BYTES);
  const socket = socketOf(SOCKET_FD, OUTPUT_FD, syscalls);
  const agreed = parked === undefined ? negotiate(socket, opened.exported, deadlineOn([SOCKET_FD, OUTPUT_FD], syscalls)) : unparked(opened.exported, parked);
  if (agreed === null) return;
  const { exported, descriptors } = opened;
  const parking = syscalls === null ? null : parkingOf({ folder, exported, descriptors, afterMs: Number(parkAfter), negotiated: agreed.negotiated }, syscalls);
  serveRequests({ ...opened.session(socket, agreed.negotiated), ...(parking === null ? {} : { park: parking }) }, agreed.rest);
}

/** Of a connection that is over. A client that has said that it leaves waits for its end (libnbd does): it comes now, not after Node's own end, and nothing is
 *  left to be done in that (9 ms of a processor; nbdcopy with its connections one after another waits for each). */
function leave(syscalls: Syscalls | null): void {
  syscalls?.shutDown(OUTPUT_FD);
  syscalls?.exitNow(0);
}

try {
  const syscalls = openSyscalls();
  main(process.argv.slice(2), syscalls);
  leave(syscalls);
} catch (error) {
  // A client that went away mid-answer, or never said what it wants, is no failure; everything else goes to the log of the VBD.
  const { code = '' } = error as NodeJS.ErrnoException;
  if (!['EPIPE', 'ECONNRESET', 'EAGAIN'].includes(code)) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
