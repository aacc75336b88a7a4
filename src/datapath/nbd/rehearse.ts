// What a spare process does before it has a client: it serves one that is not there, by all the code that serves a real one, so that
// little is compiled for the first time while a client waits (4.2 to 2.6 ms until it is greeted, 0.7 to 0.3 for its first read). Its VBD is
// rehearsal-folder.ts's, its client the other end of a pair of sockets. What stays is what is mapped of that VBD, and a slot of its counters.

import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import type { VbdPlan } from '../../core/types.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { countersForNobody } from './counters.ts';
import { makePoison } from './flush-vbd.ts';
import { makeAddresses } from './memory-address.ts';
import { deadlineOn, negotiate } from './negotiate.ts';
import { openSession, pageOfItsOwn, readPlan, sessionOf } from './open-session.ts';
import type { OpenedSession } from './open-session.ts';
import { parkingOf } from './parked.ts';
import { forgetProcess } from './process-records.ts';
import { serveRequests } from './serve-requests.ts';
import { socketOf } from './socket.ts';
import { put32 } from './wire/bytes.ts';
import { CMD, IHAVEOPT, OPT, REQUEST_BYTES, REQUEST_MAGIC } from './wire/constants.ts';

const DEVICE = '/dev/zero';
const BLOCK_BYTES = 512;
/** Each with a VBD and a handshake of its own, as V8 takes what it has only seen one of for a constant. */
const ROUNDS = 8;
/** Of a round, of one block each: a pair of sockets holds them and their answers, where there is nobody to take them meanwhile. */
const REQUESTS = 240;
/** Of so many the first is a write and the last a flush. */
const FLUSHED = 4;

/** Sessions of writes that are written as they come in, each in parts: most of a copy to a VBD is in their loop. */
const LONG_ROUNDS = 12;
const LONG_WRITES = 3;
const LONG_BYTES = 72 * 1024;
/** With what the kernel keeps beside it in memory of 8 KiB: without privileges a pair of sockets holds 416 KiB. */
const LONG_PART_BYTES = 7 * 1024;

/** What a pair of sockets must hold of a conversation, each way. */
const SOCKET_BYTES = 256 * 1024;
/** Nobody takes more than is sent: a call that waits so long waits for nothing. */
const WAIT_MS = 1000;

type Stage = { readonly syscalls: Syscalls; readonly plan: VbdPlan; readonly device: number; readonly client: number; readonly server: number };

/** Whatever goes wrong here is no failure: a real client will be told. */
export function rehearse(syscalls: Syscalls, folder: string | undefined): void {
  if (folder === undefined) return;
  const fds: number[] = [];
  try {
    const pair = syscalls.socketPair();
    if (pair === null) return;
    fds.push(...pair);
    for (const fd of pair) if (syscalls.growSendBuffer(fd, SOCKET_BYTES) < 0 || syscalls.limitWaiting(fd, WAIT_MS) < 0) return;
    const device = openSync(DEVICE, 'r+');
    fds.push(device);
    const [client, server] = pair;
    const stage = { syscalls, plan: readPlan(folder), device, client, server };
    const { lock } = openWhole(stage, folder);
    if (lock !== null) fds.push(lock);
    // Before the others: the first of them throws away what was compiled until then.
    for (let round = 0; round < LONG_ROUNDS; round += 1) serveLongWrites(stage);
    for (let round = 0; round < ROUNDS; round += 1) serveOnce(stage, round % 2 === 0);
  } catch {
    // Then it is only slower.
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}

/** Something that was said did not arrive, and would be waited for. */
const giveUp = (): never => {
  throw new Error('the rehearsal waits for nobody');
};

/** As a real one is opened; its descriptors are where this process happens to have them. It is not served. */
function openWhole({ syscalls, device, server }: Stage, folder: string): OpenedSession {
  const opened = openRecorded(folder, syscalls, device);
  const { exported, descriptors } = opened;
  const limitReceiving = (): number => syscalls.limitReceiving(server, WAIT_MS);
  parkingOf({ folder, exported, descriptors, afterMs: WAIT_MS, negotiated: { exported, structured: true, contexts: [] } }, { ...syscalls, limitReceiving });
  return opened;
}

function openRecorded(folder: string, syscalls: Syscalls, device: number): OpenedSession {
  try {
    return openSession(folder, syscalls, () => ({ devices: [device], witnesses: [device], end: device + 1 }));
  } finally {
    forgetProcess({ processes: join(folder, 'processes') }, process.pid);
  }
}

function openRehearsal({ syscalls, plan, device }: Stage): OpenedSession {
  const page = pageOfItsOwn(plan);
  const poison = makePoison(page, join(DEVICE, 'poisoned'));
  const places = { devices: [device], witnesses: [], end: device + 1 };
  return sessionOf({ plan, places, syscalls, page, poison, counters: countersForNobody(), shares: true, lock: device });
}

/** `takes`: the client takes each answer before it asks for more, as far as the server can tell. */
function serveOnce(stage: Stage, takes: boolean): void {
  const { syscalls, server } = stage;
  const opened = openRehearsal(stage);
  sayAll(stage, conversation());
  // Where the server asks whether its client has answers to take, there is a moment to take them.
  const ioctl = (...asked: Parameters<Syscalls['ioctl']>): number => {
    takeAnswers(stage);
    return syscalls.ioctl(...asked);
  };
  const socket = socketOf(server, server, takes ? { ...syscalls, ioctl } : syscalls);
  const mayWait = deadlineOn([server], { ...syscalls, limitWaiting: (fd) => syscalls.limitWaiting(fd, WAIT_MS) });
  const agreed = negotiate(socket, opened.exported, mayWait);
  if (agreed !== null) serveRequests({ ...opened.session(socket, agreed.negotiated), park: giveUp }, agreed.rest);
  takeAnswers(stage);
}

function serveLongWrites(stage: Stage): void {
  const { syscalls, server } = stage;
  const write = request(CMD.WRITE, 0, LONG_BYTES);
  const parts = Array.from({ length: Math.ceil(write.length / LONG_PART_BYTES) }, (_, part) =>
    write.subarray(part * LONG_PART_BYTES, (part + 1) * LONG_PART_BYTES),
  );
  const writes = Array.from({ length: LONG_WRITES }, () => parts).flat();
  sayAll(stage, [...writes, request(CMD.DISC, 0, 0)]);
  const session = openRehearsal(stage).session(socketOf(server, server, syscalls), { structured: true, contexts: [] });
  serveRequests({ ...session, park: giveUp }, new Uint8Array(0));
  takeAnswers(stage);
}

/** Each message comes by itself. */
function sayAll({ syscalls, client }: Stage, messages: readonly Buffer[]): void {
  const said = Buffer.concat(messages);
  const addressOf = makeAddresses(syscalls);
  let at = 0;
  for (const { length } of messages) {
    if (syscalls.send(client, addressOf(said) + at, length) !== length) giveUp();
    at += length;
  }
}

/** And asks once more than there are: how a call fails is rehearsed, too. */
function takeAnswers({ syscalls, client }: Stage): void {
  const answers = Buffer.allocUnsafeSlow(64 * 1024);
  const address = makeAddresses(syscalls)(answers);
  while (syscalls.receiveNow(client, address, answers.length) > 0);
}

/** All that the client says, from its flags to its leaving: each request is a message, and so comes by itself. */
function conversation(): readonly Buffer[] {
  const flags = Buffer.from([0, 0, 0, 3]);
  const requests = Array.from({ length: REQUESTS }, (_, index) => {
    if (index % FLUSHED === FLUSHED - 1) return request(CMD.FLUSH, 0, 0);
    return request(index % FLUSHED === 0 ? CMD.WRITE : CMD.READ, index * BLOCK_BYTES, BLOCK_BYTES);
  });
  return [Buffer.concat([flags, option(OPT.STRUCTURED_REPLY, 0), option(OPT.GO, 6)]), ...requests, request(CMD.DISC, 0, 0)];
}

/** With so many bytes of data, all zero: of GO, the VBD without a name and no questions. */
function option(number: number, length: number): Buffer {
  const sent = Buffer.alloc(16 + length);
  sent.writeBigUInt64BE(IHAVEOPT);
  put32(sent, 8, number);
  put32(sent, 12, length);
  return sent;
}

function request(type: number, offset: number, length: number): Buffer {
  const sent = Buffer.alloc(REQUEST_BYTES + (type === CMD.WRITE ? length : 0));
  put32(sent, 0, REQUEST_MAGIC);
  sent.writeUInt16BE(type, 6);
  put32(sent, 20, offset);
  put32(sent, 24, length);
  return sent;
}
