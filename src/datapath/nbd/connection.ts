// The program of one connection: a client's socket on descriptors 0 and 1, the write end of the VBD's pipe on 3, the
// VBD's devices from 4 on, the folder of the VBD as its argument; or `--spare`, and all that comes later in a message.
// It ends with its client, and answers to nobody else.

import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { limits } from '../../base/limits.ts';
import type { VbdPlan } from '../../core/types.ts';
import { openSyscalls } from '../../host/syscalls.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { CONTEXTS } from './block-status.ts';
import { LANES, makeDirectQueue, SLOT_BYTES, SLOTS } from './direct-queue.ts';
import { makeDeviceIo } from './device-io.ts';
import { poisonFile } from './flush-vbd.ts';
import { limitRate, realPace } from './limit-rate.ts';
import { serveRequests } from './serve-requests.ts';
import { makeSharedPage, sharedPageBytes } from './shared-page.ts';
import type { SharedPage } from './shared-page.ts';
import { socketOf } from './socket.ts';
import type { Socket } from './socket.ts';
import { becomeConnection, FIRST_DEVICE_FD, OUTPUT_FD, SOCKET_FD } from './spare-descriptors.ts';
import { makeStaging, STAGING_BYTES } from './staging.ts';
import { openVbdIo } from './vbd-io.ts';
import { FLAG } from './wire/constants.ts';
import { startHandshake } from './wire/handshake.ts';
import type { Export, Negotiated } from './wire/handshake.ts';

const STREAM_FROM_BYTES = 64 * 1024;
/** prctl: this process is part of writing back, so that under memory pressure it is not made to wait for itself. */
const PR_SET_IO_FLUSHER = 57;

function main(argument: string): void {
  const syscalls = openSyscalls();
  const folder = argument !== '--spare' ? argument : syscalls === null ? null : becomeConnection(syscalls);
  if (folder !== null) serve(folder, syscalls);
}

function serve(folder: string, syscalls: Syscalls | null): void {
  const plan = JSON.parse(readFileSync(join(folder, 'plan.json'), 'utf8')) as VbdPlan;
  spareUs(syscalls);
  const shared = mapShared(join(folder, 'shared'), plan.segments.length, syscalls);
  const page = shared ?? makeSharedPage(new ArrayBuffer(sharedPageBytes(plan.segments.length)), plan.segments.length);
  const direct = plan.cache === 'none' ? (syscalls?.alignedMemory(STAGING_BYTES) ?? null) : null;
  const whole = openVbdIo({
    plan,
    fds: plan.devices.map((_, index) => FIRST_DEVICE_FD + index),
    syscalls,
    page,
    poison: poisonFile(join(folder, 'poisoned')),
    staging: direct === null ? null : makeStaging(direct, makeDeviceIo(syscalls)),
  });
  const io = plan.rate === undefined ? whole : limitRate(whole, plan.rate, realPace(page.booked));
  const minimumBytes = direct === null ? 1 : plan.blockBytes;
  const socket = socketOf(SOCKET_FD, OUTPUT_FD, syscalls);
  const agreed = negotiate(socket, exportOf(plan, minimumBytes, shared !== null));
  if (agreed === null) return;
  const { structured, contexts } = agreed.negotiated;
  const served = { sizeBytes: plan.sizeBytes, readOnly: plan.mode === 'r', minimumBytes, contexts: contexts.length > 0 };
  const reads = direct === null || plan.rate !== undefined ? null : (syscalls?.openReadQueue(SLOTS, SLOT_BYTES) ?? null);
  const ahead = reads === null ? null : makeDirectQueue(reads, syscalls?.openThreadQueue(LANES) ?? null, (offset, length) => io.placeOf(offset, length));
  // Direct I/O is best done in one piece, and a limited rate counts pieces as requests.
  const streamFrom = direct === null && plan.rate === undefined ? STREAM_FROM_BYTES : Infinity;
  serveRequests({ socket, io, ahead, streamFrom, page, served, structured, contexts }, agreed.rest);
}

/** A guest's disk is not what the kernel should end first, nor make wait for memory that only we can free. Refused without privilege. */
function spareUs(syscalls: Syscalls | null): void {
  syscalls?.prctl(PR_SET_IO_FLUSHER, 1);
  try {
    writeFileSync('/proc/self/oom_score_adj', '-900');
  } catch {
    // Not permitted: as good as it gets.
  }
}

function mapShared(path: string, segments: number, syscalls: Syscalls | null): SharedPage | null {
  const fd = openSync(path, 'r+');
  try {
    const memory = syscalls?.mapShared(fd, sharedPageBytes(segments)) ?? null;
    return memory === null ? null : makeSharedPage(memory, segments);
  } finally {
    closeSync(fd);
  }
}

/** Several connections are offered only where a flush on one covers the writes of all: with the shared page. */
function exportOf(plan: VbdPlan, minimumBytes: number, shared: boolean): Export {
  const writable = FLAG.SEND_TRIM | FLAG.SEND_WRITE_ZEROES | FLAG.SEND_FAST_ZERO | FLAG.SEND_FUA;
  const flags = FLAG.HAS_FLAGS | FLAG.SEND_FLUSH | FLAG.SEND_DF | FLAG.SEND_CACHE | (shared ? FLAG.CAN_MULTI_CONN : 0);
  return {
    name: plan.exportName,
    description: 'xvd',
    sizeBytes: plan.sizeBytes,
    transmissionFlags: flags | (plan.mode === 'r' ? FLAG.READ_ONLY : writable),
    blockSizes: [minimumBytes, 4096, limits.nbdRequestBytes],
    contexts: CONTEXTS,
  };
}

function negotiate(socket: Socket, exported: Export): { negotiated: Negotiated; rest: Uint8Array } | null {
  const handshake = startHandshake(exported);
  const sending = Buffer.allocUnsafeSlow(2 * limits.nbdOptionBytes);
  const send = (data: Uint8Array): void => {
    for (let done = 0; done < data.length; done += sending.length) {
      const part = data.subarray(done, done + sending.length);
      sending.set(part, 0);
      socket.write(sending, 0, part.length);
    }
  };
  send(handshake.greeting);
  const input = Buffer.allocUnsafeSlow(2 * limits.nbdOptionBytes);
  for (let end = 0; ;) {
    const count = socket.read(input, end, input.length - end);
    if (count === 0) return null;
    end += count;
    const { consumed, output, next } = handshake.step(input.subarray(0, end));
    if (output.length > 0) send(Buffer.concat(output));
    if (next === 'end') return null;
    if (next !== 'more') return { negotiated: next.go, rest: Uint8Array.from(input.subarray(consumed, end)) };
    input.copyWithin(0, consumed, end);
    end -= consumed;
  }
}

try {
  main(process.argv[2] ?? '.');
} catch (error) {
  // A client that went away mid-answer is no failure; everything else goes to the log of the VBD.
  const { code } = error as NodeJS.ErrnoException;
  if (code !== 'EPIPE' && code !== 'ECONNRESET') {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
