// What a spare process does before it has a client: it serves one that is not there, by all the code that serves a real one, so that
// little is compiled for the first time while a client waits (4.2 to 2.6 ms until it is greeted, 0.7 to 0.3 for its first read). Its VBD is
// rehearsal-folder.ts's, its client the other end of a pair of sockets. What stays is what is mapped of that VBD, a slot of its counters, three
// sessions without their buffers, and the memory that the one with direct I/O had for its requests.

import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import type { VbdPlan } from '../../core/types.ts';
import type { ClosableQueue } from '../../host/request-queue.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { countersForNobody } from './counters.ts';
import { makePoison } from './flush-vbd.ts';
import { makeAddresses, SMALLEST_BYTES } from './memory-address.ts';
import { deadlineOn, negotiate } from './negotiate.ts';
import { openSession, pageOfItsOwn, readPlan, sessionOf } from './open-session.ts';
import type { OpenedSession } from './open-session.ts';
import { parkingOf } from './parked.ts';
import { forgetProcess, recordProcess } from './process-records.ts';
import type { Session } from './request-loop.ts';
import { serveRequests } from './serve-requests.ts';
import { socketOf } from './socket.ts';
import { put32 } from './wire/bytes.ts';
import { CMD, IHAVEOPT, OPT, REQUEST_BYTES, REQUEST_MAGIC } from './wire/constants.ts';

const DEVICE = '/dev/zero';
const BLOCK_BYTES = 512;
/** Of a session, of one block each: a pair of sockets holds them and their answers, where there is nobody to take them meanwhile. */
const REQUESTS = 240;
/** Of so many the first is a write and the last a flush. With direct I/O the later half comes so many at a time: alone a request is waited for, and not begun ahead. */
const FLUSHED = 4;

/** Sessions of writes that are written as they come in, each in parts: most of a copy to a VBD is in their loop. So many of them that it is
 *  compiled here, and not when a copy is half done. */
const LONG_ROUNDS = 20;
const LONG_WRITES = 30;
/** Taken for long here, so that a pair of sockets holds many: without privileges 416 KiB, with what the kernel keeps beside each part in memory of 4 KiB. */
const LONG_FROM_BYTES = 4 * 1024;
/** Two blocks, and some of a third. */
const LONG_BYTES = 8704;
const LONG_PART_BYTES = 3 * 1024;
/** What compiles a function is some hundred calls of it. */
const WAITS = 450;
/** In vain, each until the kernel's next tick: so many that it is given up to ask (socket.ts). */
const VAIN_WAITS = 8;
/** As of a function that has run so often V8 notes what it meets. */
const TELLINGS = 10;

/** What a pair of sockets must hold of a conversation, each way. */
const SOCKET_BYTES = 256 * 1024;
/** Nobody takes more than is sent: a call that waits so long waits for nothing. */
const WAIT_MS = 1000;

type Stage = {
  readonly syscalls: Syscalls;
  readonly plan: VbdPlan;
  readonly device: number;
  readonly client: number;
  readonly server: number;
  readonly direct: Syscalls;
};

/** Through the page cache, with a client that takes each answer before it asks for more (as far as the server can tell) or takes none meanwhile; or direct I/O. */
type Way = 'taken' | 'untaken' | 'direct';
/** Each session with a VBD and a handshake of its own, as V8 takes what it has only seen one of for a constant. All ways first, a little of each: what is compiled before it has met all of them is thrown away when it does. */
const FIRST_WAYS: readonly Way[] = ['taken', 'untaken', 'direct'];
const LATER_WAYS: readonly Way[] = [...FIRST_WAYS, ...FIRST_WAYS, ...FIRST_WAYS];

/** Whatever goes wrong here is no failure: a real client will be told. */
export function rehearse(syscalls: Syscalls, folder: string | undefined): void {
  if (folder === undefined) return;
  const fds: number[] = [];
  const direct = directCalls(syscalls);
  try {
    const pair = syscalls.socketPair();
    if (pair === null) return;
    fds.push(...pair);
    for (const fd of pair) if (syscalls.growSendBuffer(fd, SOCKET_BYTES) < 0 || syscalls.limitWaiting(fd, WAIT_MS) < 0) return;
    const device = openSync(DEVICE, 'r+');
    fds.push(device);
    const [client, server] = pair;
    const stage = { syscalls, plan: readPlan(folder), device, client, server, direct: direct.syscalls };
    const { lock } = openWhole(stage, folder);
    if (lock !== null) fds.push(lock);
    for (let round = 0; round < TELLINGS; round += 1) beTold(stage, folder);
    // Some of each kind of request first: what is compiled before it has met all of them is thrown away when it does.
    for (const way of FIRST_WAYS) serveOnce(stage, way);
    waitForNothing(stage);
    for (let round = 0; round < LONG_ROUNDS; round += 1) serveLongWrites(stage);
    for (const way of LATER_WAYS) serveOnce(stage, way);
    for (const session of [kept.requests, kept.direct, kept.longWrites]) if (session !== null) forgetBuffers(session);
  } catch {
    // Then it is only slower.
  } finally {
    for (const fd of fds) closeSync(fd);
    direct.close();
  }
}

/** For sessions with direct I/O: the queue and the memory that each of them has until its process ends are got once, for all. */
function directCalls(syscalls: Syscalls): { readonly syscalls: Syscalls; close(): void } {
  // undefined = not asked for yet; whoever is refused once does not ask again.
  let queue: ClosableQueue | null | undefined;
  let memory: Uint8Array | null | undefined;
  return {
    syscalls: {
      ...syscalls,
      openRequestQueue: (slots, slotBytes) => (queue = queue === undefined ? syscalls.openRequestQueue(slots, slotBytes) : queue),
      alignedMemory: (length) => (memory = memory === undefined ? syscalls.alignedMemory(length) : memory),
    },
    close: () => queue?.close(),
  };
}

/** The last session of each kind, for as long as this process lives: what was compiled for a function goes when the last function made of the same source does. */
const kept: { requests: Session | null; direct: Session | null; longWrites: Session | null } = { requests: null, direct: null, longWrites: null };

/** Something that was said did not arrive, and would be waited for. */
const giveUp = (): never => {
  throw new Error('the rehearsal waits for nobody');
};

/** A session through the page cache that seems slow, on a busy machine, would open a queue to read ahead by, and never close it. */
const UNASSISTED = { park: giveUp, openAhead: (): null => null };

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

/** As it will be told of its VBD; the descriptors are put nowhere. */
function beTold({ syscalls, device, client, server }: Stage, folder: string): void {
  if (syscalls.sendDescriptors(client, Buffer.from(folder), [device, device, device]) < 0) giveUp();
  const told = syscalls.receiveDescriptors(server) ?? giveUp();
  for (const fd of told.descriptors) closeSync(fd);
  const records = { processes: join(Buffer.from(told.message).toString(), 'processes') };
  // By the daemon, and by itself.
  for (let writer = 0; writer < 2; writer += 1) recordProcess(records, process.pid);
  forgetProcess(records, process.pid);
  readPlan(folder);
}

/** What comes while nobody asks, and what does not come while it is asked for. */
function waitForNothing(stage: Stage): void {
  const { syscalls, server } = stage;
  const socket = socketOf(server, server, syscalls);
  const buffer = Buffer.allocUnsafeSlow(SMALLEST_BYTES);
  const message = [Buffer.alloc(SMALLEST_BYTES)];
  for (let round = 0; round < WAITS; round += 1) {
    sayAll(stage, message);
    socket.waited?.(round % 2 === 0);
    socket.read(buffer, 0, buffer.length);
  }
  if (syscalls.limitReceiving(server, 1) < 0) giveUp();
  for (let round = 0; round < VAIN_WAITS; round += 1) {
    sayAll(stage, message);
    while (socket.read(buffer, 0, buffer.length, true) > 0);
  }
  syscalls.limitReceiving(server, WAIT_MS);
}

/** Whoever asks where buffers lie remembers the last two, and these are large. */
function forgetBuffers({ socket, io }: Session): void {
  for (let times = 0; times < 2; times += 1) {
    const small = Buffer.allocUnsafeSlow(SMALLEST_BYTES);
    socket.addressOf?.(small);
    socket.readNow(small, 0, small.length);
    io.read(0, small, 0, small.length);
    io.write(0, small, 0, small.length);
  }
}

function openRehearsal({ syscalls, direct, plan, device }: Stage, cache: VbdPlan['cache']): OpenedSession {
  const page = pageOfItsOwn(plan);
  const poison = makePoison(page, join(DEVICE, 'poisoned'));
  const places = { devices: [device], witnesses: [], end: device + 1 };
  const calls = cache === 'none' ? direct : syscalls;
  return sessionOf({ plan: { ...plan, cache }, places, syscalls: calls, page, poison, counters: countersForNobody(), shares: true, lock: device });
}

function serveOnce(stage: Stage, way: Way): void {
  const { syscalls, server } = stage;
  const opened = openRehearsal(stage, way === 'direct' ? 'none' : 'writeback');
  sayAll(stage, conversation(way));
  // Where the server asks whether its client has answers to take, there is a moment to take them.
  const ioctl = (...asked: Parameters<Syscalls['ioctl']>): number => {
    takeAnswers(stage);
    return syscalls.ioctl(...asked);
  };
  const socket = socketOf(server, server, way === 'taken' ? { ...syscalls, ioctl } : syscalls);
  const mayWait = deadlineOn([server], { ...syscalls, limitWaiting: (fd) => syscalls.limitWaiting(fd, WAIT_MS) });
  const agreed = negotiate(socket, opened.exported, mayWait);
  if (agreed === null) return giveUp();
  const session = opened.session(socket, agreed.negotiated);
  const served: Session = way === 'direct' && session.ahead !== null ? { ...session, park: giveUp } : { ...session, ...UNASSISTED };
  kept[way === 'direct' ? 'direct' : 'requests'] = served;
  serveRequests(served, agreed.rest);
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
  const opened = openRehearsal(stage, 'writeback').session(socketOf(server, server, syscalls), { structured: true, contexts: [] });
  kept.longWrites = { ...opened, streamFrom: LONG_FROM_BYTES, ...UNASSISTED };
  serveRequests(kept.longWrites, new Uint8Array(0));
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

/** All that the client says, from its flags to its leaving: each message comes by itself. */
function conversation(way: Way): readonly Buffer[] {
  const flags = Buffer.from([0, 0, 0, 3]);
  const requests = Array.from({ length: REQUESTS }, (_, index) => {
    if (index % FLUSHED === FLUSHED - 1) return request(CMD.FLUSH, 0, 0);
    return request(index % FLUSHED === 0 ? CMD.WRITE : CMD.READ, index * BLOCK_BYTES, BLOCK_BYTES);
  });
  const alone = way === 'direct' ? requests.length / 2 : requests.length;
  const together = Array.from({ length: (requests.length - alone) / FLUSHED }, (_, group) => {
    const first = alone + group * FLUSHED;
    return Buffer.concat(requests.slice(first, first + FLUSHED));
  });
  const said = [...requests.slice(0, alone), ...together, request(CMD.DISC, 0, 0)];
  return [Buffer.concat([flags, option(OPT.STRUCTURED_REPLY, 0), option(OPT.GO, 6)]), ...said];
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
