// The socket of a connection, in blocking calls. Before it sleeps in the kernel, a connection that gets its next request soon
// after its last answer asks again for a while: being woken costs more than that (on two processors, depth 1: 1.5 times the
// requests a second). How long follows what came of it, as in halt polling of hypervisors; a connection that waits long never polls.

import { readSync, writeSync } from 'node:fs';
import { EAGAIN, EINTR } from '../../host/syscalls.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { elapsedUs } from './clock.ts';
import { makeAddresses, SMALLEST_BYTES, systemError } from './memory-address.ts';

/** Of read(): nothing has come for as long as the socket may wait. */
export const IDLE = -1;

export type Socket = {
  /** Waits; 0 at the end; IDLE on sockets that wait for a limited time only. `onItsWay`: not asked for long, as its sender may need this processor to
   *  send it (nbdcopy with 4 connections on two: 6 % faster). */
  read(buffer: Buffer, at: number, length: number, onItsWay?: boolean): number;
  /** When it returns, the bytes are the caller's again. */
  write(buffer: Buffer, at: number, length: number): void;
  /** What is there now: 0 = nothing, or the end. */
  readNow(buffer: Buffer, at: number, length: number): number;
  /** What comes while the client has answers to take; 0 = it has taken all that were sent, nothing has come for long, or it is not looked this time. Absent where
   *  that is not known. */
  readMeanwhile?(buffer: Buffer, at: number, length: number): number;
  /** A request has waited for its device. After a read the next one is asked for a little longer, as its client has to wake up; after others the next ones are waited
   *  for asleep. Absent where nothing else is done. */
  waited?(read: boolean): void;
  /** Where a buffer that is read into or written from lies in memory, where that is known. */
  addressOf?(buffer: Buffer): number;
  /** Of sockets whose write() does not wait: the client has more to take than it should. */
  congested?(): boolean;
};

/** The longest time that is spent asking, and what a request may take to come for asking to pay. */
const POLL_US = 50;
const FIRST_POLL_US = 10;
/** The same after a read that waited for its device: so did its client, asleep (random reads of 4 KiB one by one, direct I/O, 28 rounds in turn: 6.9 and 7.4 thousand a second,
 *  qemu-nbd 7.1; 0.24 and 0.35 of a processor, qemu-nbd 0.52). The processor is yielded between the askings: the 99th percentile is 165 µs without, 123 with; asleep it is 134. */
const POLL_SLEEPER_US = 80;
/** Where writes and flushes wait for the device, being woken is little of what they take, and asking keeps a processor from all others: so many are waited for
 *  asleep after one that did (a write and a flush in turn, page cache, 99.9th percentile: 545 and then 436 µs; nbdkit 395 and 514 beside them). */
const ASLEEP = 4;
/** Asked for nothing so often in a row, each time as long as is asked at most, it is waited for asleep so many times: whoever sends needs this processor for it (five of six
 *  askings of a copy by two connections on two processors were in vain, 5,600 calls for 512 MiB). */
const VAIN = 4;
const ASLEEP_IN_VAIN = 16;
/** Of so many askings one looks at the clock, which costs a fifth of one. */
const ASKED_AT_ONCE = 4;
/** ioctl(2) of a Unix socket: what was sent and not yet read, in bytes of the kernel's memory. */
const SIOCOUTQ = 0x5411;
/** Who has so much to take, by SIOCOUTQ, is left alone for so long before each asking, which takes the lock that its next request needs (random reads of
 *  4 KiB at depth 32, whose client has a processor for itself: 74 to 80 thousand a second, nbdkit 48; 65 and 64 at depth 8, where there is less to take). */
const MUCH_BYTES = 40 * 1024;
const UNASKED_US = 10;
/** A client that waits for each answer never has others: it is asked less and less often, as that takes a fortieth of such a request. */
const LONGEST_PAUSE = 15;

/** Blocking socket on a descriptor. */
export const socketOf = (input: number, output: number, syscalls: Syscalls | null): Socket =>
  syscalls === null ? plainSocket(input, output) : pollingSocket(input, output, syscalls);

const plainSocket = (input: number, output: number): Socket => ({
  read: (buffer, at, length) => readSync(input, buffer, at, length, null),
  readNow: () => 0,
  write: (buffer, at, length) => writeWhole(output, buffer, at, length),
});

function writeWhole(fd: number, buffer: Buffer, at: number, length: number): void {
  for (let done = 0; done < length;) done += writeSync(fd, buffer, at + done, length - done, null);
}

type Wait = {
  /** What receive() gives. */
  wait(address: number, length: number, onItsWay: boolean): number;
  waited(read: boolean): void;
};

/** How long is asked, by what came of it; how often in a row for nothing; how many waits are asleep whatever came. */
type Asking = { pollUs: number; vain: number; asleep: number };

function makeWait(input: number, { receive, receiveNow, yieldProcessor, microseconds }: Syscalls): Wait {
  const forRequest: Asking = { pollUs: 0, vain: 0, asleep: 0 };
  const forRest: Asking = { pollUs: 0, vain: 0, asleep: 0 };
  /** In which a request is soon enough for asking to pay. */
  let soonUs = POLL_US;
  const wait = (address: number, length: number, onItsWay: boolean): number => {
    const asking = onItsWay ? forRest : forRequest;
    const withinUs = onItsWay ? POLL_US : soonUs;
    if (!onItsWay) soonUs = POLL_US;
    const longestUs = onItsWay ? FIRST_POLL_US : withinUs;
    const pollUs = Math.min(asking.pollUs, longestUs);
    const began = microseconds();
    if (asking.asleep > 0) asking.asleep -= 1;
    else if (pollUs > 0) {
      do {
        for (let asked = 0; asked < ASKED_AT_ONCE; asked += 1) {
          const result = receiveNow(input, address, length);
          if (result === -EAGAIN || result === -EINTR) continue;
          asking.vain = 0;
          return result;
        }
        // Woken on this processor, its client can't run as long as it is asked.
        if (withinUs === POLL_SLEEPER_US) yieldProcessor();
      } while (elapsedUs(began, microseconds()) < pollUs);
      if (pollUs === longestUs) asking.vain += 1;
      if (asking.vain >= VAIN) asking.asleep = ASLEEP_IN_VAIN;
    }
    const result = receive(input, address, length);
    asking.pollUs = elapsedUs(began, microseconds()) < withinUs ? Math.min(withinUs, Math.max(FIRST_POLL_US, 2 * pollUs)) : 0;
    return result;
  };
  const waited = (read: boolean): void => {
    soonUs = read ? POLL_SLEEPER_US : POLL_US;
    if (!read) for (const asking of [forRequest, forRest]) asking.asleep = Math.max(asking.asleep, ASLEEP);
  };
  return { wait, waited };
}

function pollingSocket(input: number, output: number, syscalls: Syscalls): Socket {
  const inputAddress = makeAddresses(syscalls);
  const outputAddress = makeAddresses(syscalls);
  const { receiveNow, send, microseconds } = syscalls;
  const { wait, waited } = makeWait(input, syscalls);
  const untaken = Buffer.allocUnsafeSlow(SMALLEST_BYTES);
  const untakenAt = makeAddresses(syscalls)(untaken);
  const bytesToTake = (): number => (syscalls.ioctl(output, SIOCOUTQ, untakenAt) >= 0 ? untaken.readInt32LE(0) : 0);
  const letTake = (): void => {
    const began = microseconds();
    while (elapsedUs(began, microseconds()) < UNASKED_US);
  };
  /** Times that it is not asked whether the client has answers to take, as it had none. */
  let pause = 0;
  let unasked = 0;
  return {
    read(buffer, at, length, onItsWay = false) {
      for (;;) {
        const result = wait(inputAddress(buffer) + at, length, onItsWay);
        if (result >= 0) return result;
        if (result === -EAGAIN) return IDLE;
        if (result !== -EINTR) throw systemError(-result);
      }
    },
    waited,
    addressOf: outputAddress,
    readNow: (buffer, at, length) => Math.max(0, receiveNow(input, inputAddress(buffer) + at, length)),
    readMeanwhile(buffer, at, length) {
      if (unasked > 0) {
        unasked -= 1;
        return 0;
      }
      let left = bytesToTake();
      if (left === 0) {
        pause = Math.min(LONGEST_PAUSE, 2 * pause + 1);
        unasked = pause;
        return 0;
      }
      pause = 0;
      const began = microseconds();
      do {
        if (left >= MUCH_BYTES) letTake();
        const result = receiveNow(input, inputAddress(buffer) + at, length);
        if (result > 0) return result;
        left = bytesToTake();
      } while (left > 0 && elapsedUs(began, microseconds()) < POLL_US);
      return 0;
    },
    write(buffer, at, length) {
      for (let done = 0; done < length;) {
        const result = send(output, outputAddress(buffer) + at + done, length - done);
        if (result >= 0) done += result;
        else if (result !== -EINTR) throw systemError(-result);
      }
    },
  };
}
