// Runs one case through the code of a connection process, in this process: the handshake, the loop and the I/O on a real file in
// runs out of order. Ends with an error for whatever the strict client would not take, and for memory above the limits.

import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { limits } from '../../src/base/limits.ts';
import { bytes } from '../../src/base/units.ts';
import type { VbdPlan } from '../../src/core/types.ts';
import { clockOf } from '../../src/datapath/nbd/clock.ts';
import { exportOf } from '../../src/datapath/nbd/open-session.ts';
import { feedRequests, serveRequests } from '../../src/datapath/nbd/serve-requests.ts';
import type { Session } from '../../src/datapath/nbd/request-loop.ts';
import { COUNTERS_BYTES, makeCounters } from '../../src/datapath/nbd/counters.ts';
import { makeSharedPage, sharedPageBytes } from '../../src/datapath/nbd/shared-page.ts';
import type { Socket } from '../../src/datapath/nbd/socket.ts';
import { openVbdIo } from '../../src/datapath/nbd/vbd-io.ts';
import type { VbdIo } from '../../src/datapath/nbd/vbd-io.ts';
import { oneExport, startHandshake } from '../../src/datapath/nbd/wire/handshake.ts';
import type { Negotiated } from '../../src/datapath/nbd/wire/handshake.ts';
import { openSyscalls } from '../../src/host/syscalls.ts';
import { seeded } from '../crash/killing.ts';
import { DISK_BYTES } from './session-input.ts';
import type { Case, Draw } from './session-input.ts';
import { checkHandshake, checkRequests, PART_BYTES } from './strict-client.ts';
import type { CutOff } from './strict-client.ts';

const SEGMENT_BYTES = DISK_BYTES / 3;
/** Of the disk's three segments, where each lies in the file. */
const ORDER = [2, 0, 1];
const MOST_MEMORY = limits.nbdRequestBytes + 64 * 1024;

export type Rig = Disposable & { readonly plan: VbdPlan; readonly fd: number; readonly io: VbdIo; readonly newPage: () => Session['page'] };

export function openRig(): Rig {
  const folder = mkdtempSync(join(tmpdir(), 'xvd-fuzz-'));
  const path = join(folder, 'disk');
  const fd = openSync(path, 'w+');
  const segments = ORDER.map((place) => ({ deviceIndex: 0, offsetBytes: bytes(place * SEGMENT_BYTES), lengthBytes: bytes(SEGMENT_BYTES) }));
  const devices = [{ path, kind: 'file' as const, identity: { kind: 'path' as const, path }, sizeBytes: bytes(DISK_BYTES) }];
  const plan: VbdPlan = {
    generation: 1,
    exportName: 'fuzz/xvda@1',
    mode: 'w',
    sizeBytes: bytes(DISK_BYTES),
    blockBytes: 512,
    cache: 'writeback',
    devices,
    segments,
  };
  const newPage = () => makeSharedPage(new ArrayBuffer(sharedPageBytes(segments.length)), segments.length);
  const poison = { is: () => false, set: (reason: string) => assert.fail(reason) };
  // Nothing is made durable: a flush of a real drive for each would be all that is done here.
  const io = { ...openVbdIo({ plan, fds: [fd], witnesses: [], syscalls: openSyscalls(), page: newPage(), poison, staging: null }), flush: () => {} };
  return {
    plan,
    fd,
    io,
    newPage,
    [Symbol.dispose]() {
      closeSync(fd);
      rmSync(folder, { recursive: true });
    },
  };
}

export function runCase(rig: Rig, { parts, mode, streamFrom, piecesSeed, readOnly }: Case): void {
  const sent = Buffer.concat(parts);
  const plan: VbdPlan = readOnly ? { ...rig.plan, mode: 'r' } : rig.plan;
  const pieces = seeded(piecesSeed);
  const start = Buffer.alloc(DISK_BYTES, 1);
  writeSync(rig.fd, start, 0, DISK_BYTES, 0);
  const { answers, negotiated, usedBytes } = negotiate(plan, sent, pieces);
  const agreed = checkHandshake(sent, answers, exportOf(plan, true).contexts);
  assert.equal(agreed !== null, negotiated !== null, 'both sides know whether the handshake is over');
  const disk = { bytes: start, readOnly };
  let cutOff: CutOff = null;
  if (agreed !== null && negotiated !== null) {
    assert.equal(agreed.usedBytes, usedBytes);
    assert.equal(negotiated.structured, agreed.structured);
    // Contexts that were chosen for another name are void: then there are none.
    assert.ok(negotiated.contexts.length === 0 || negotiated.contexts.join() === agreed.contexts.join());
    const rest = sent.subarray(usedBytes);
    const replies = serve(rig, plan, { streamFrom, negotiated, mode }, rest, pieces);
    cutOff = checkRequests(rest, replies, { ...agreed, contexts: negotiated.contexts }, disk);
  }
  const file = Buffer.alloc(DISK_BYTES);
  readSync(rig.fd, file, 0, DISK_BYTES, 0);
  const whole = Buffer.concat(ORDER.map((place) => file.subarray(place * SEGMENT_BYTES, (place + 1) * SEGMENT_BYTES)));
  cutOff?.data.forEach((byte, index) => {
    const at = cutOff.offset + index;
    if (whole[at] === byte) disk.bytes[at] = byte;
  });
  assert.ok(whole.equals(disk.bytes), 'the disk holds what was written, and nothing else');
}

function negotiate(plan: VbdPlan, sent: Buffer, pieces: Draw): { answers: Buffer; negotiated: Negotiated | null; usedBytes: number } {
  const handshake = startHandshake(oneExport(exportOf(plan, true)));
  const output: Uint8Array[] = [handshake.greeting];
  for (let at = 0, end = 0; end < sent.length;) {
    end = Math.min(sent.length, end + 1 + pieces(pieces(4) === 0 ? 70_000 : 60));
    const step = handshake.step(sent.subarray(at, end));
    assert.ok(step.consumed >= 0 && step.consumed <= end - at);
    output.push(...step.output);
    at += step.consumed;
    assert.ok(step.next !== 'more' || end - at <= 16 + limits.nbdOptionBytes, 'no more is held than one option');
    assert.ok(step.next !== 'tls', 'TLS is for listeners that have it');
    if (typeof step.next === 'object') return { answers: Buffer.concat(output), negotiated: step.next.go, usedBytes: at };
    if (step.next === 'end') break;
  }
  return { answers: Buffer.concat(output), negotiated: null, usedBytes: 0 };
}

type How = Pick<Case, 'streamFrom' | 'mode'> & { readonly negotiated: Negotiated };

function serve(rig: Rig, plan: VbdPlan, { streamFrom, negotiated, mode }: How, rest: Buffer, pieces: Draw): Buffer {
  const replies: Buffer[] = [];
  let at = 0;
  const give = (buffer: Buffer, to: number, length: number): number => {
    assert.ok(length > 0 && buffer.length <= MOST_MEMORY, `${length} bytes wanted into ${buffer.length}`);
    const count = Math.min(length, 1 + pieces(pieces(3) === 0 ? 60_000 : 100), rest.length - at);
    rest.copy(buffer, to, at, at + count);
    at += count;
    return count;
  };
  let congested = false;
  const socket: Socket = {
    read: give,
    // What is pushed can't be asked for: of TLS all has been handed over.
    readNow: (buffer, to, length) => (mode === 'pulled' && length > 0 && pieces(2) === 0 ? give(buffer, to, length) : 0),
    write(buffer, from, length) {
      assert.ok(buffer.length <= MOST_MEMORY && from + length <= buffer.length);
      replies.push(Buffer.from(buffer.subarray(from, from + length)));
      congested = pieces(4) === 0;
    },
    ...(mode === 'pushed' ? { congested: () => congested } : {}),
  };
  const served = { sizeBytes: DISK_BYTES, readOnly: plan.mode === 'r', minimumBytes: 1, contexts: negotiated.contexts.length > 0 };
  const { structured, contexts } = negotiated;
  const session: Session = {
    socket,
    io: rig.io,
    ahead: null,
    streamFrom,
    gatherBytes: streamFrom === 1000 ? 2000 : 0,
    partBytes: PART_BYTES,
    page: rig.newPage(),
    counters: makeCounters(new ArrayBuffer(COUNTERS_BYTES), 0),
    clock: clockOf(null),
    served,
    structured,
    contexts,
  };
  if (mode === 'pulled') serveRequests(session, new Uint8Array(0));
  else push(feedRequests(session), rest, pieces, () => (congested = false));
  return Buffer.concat(replies);
}

function push(feed: ReturnType<typeof feedRequests>, rest: Buffer, pieces: Draw, drained: () => void): void {
  for (let at = 0; at < rest.length;) {
    const count = Math.min(rest.length - at, 1 + pieces(pieces(3) === 0 ? 60_000 : 100));
    let step = feed.push(Buffer.from(rest.subarray(at, at + count)));
    at += count;
    while (step === 'wait') {
      drained();
      step = feed.resume();
    }
    if (step === 'leave') return;
  }
}
