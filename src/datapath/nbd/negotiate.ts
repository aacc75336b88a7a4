// The handshake of one connection, in blocking calls: what the pure state machine says is said, and what the client says is given to it.

import { limits } from '../../base/limits.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { clockOf, elapsedUs } from './clock.ts';
import type { Agreed } from './parked.ts';
import { IDLE } from './socket.ts';
import type { Socket } from './socket.ts';
import { oneExport, startHandshake } from './wire/handshake.ts';
import type { Export } from './wire/handshake.ts';

/** A client that only holds a place loses it: its time is up when a call that waited says so, or when there is none left. */
export function deadlineOn(sockets: readonly number[], syscalls: Syscalls | null): (over: boolean) => boolean {
  const clock = clockOf(syscalls);
  const began = clock();
  return (over) => {
    const left = over ? 0 : limits.nbdHandshakeMs - elapsedUs(began, clock()) / 1000;
    if (!over && left <= 0) return false;
    for (const fd of sockets) syscalls?.limitWaiting(fd, left);
    return true;
  };
}

/** null: the client has left, or its time was up. */
export function negotiate(socket: Socket, exported: Export, mayWait: (over: boolean) => boolean): Agreed | null {
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
