// What a connection process serves, opened from the VBD's folder and the descriptors that it was given: the same for a client on
// the VBD's own socket and for one behind TLS.

import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { limits } from '../../base/limits.ts';
import type { VbdPlan } from '../../core/types.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { CACHED_SLOT_BYTES, makeAheadQueue, SLOT_BYTES, SLOTS } from './ahead-queue.ts';
import type { AheadQueue, Place } from './ahead-queue.ts';
import { CONTEXTS } from './block-status.ts';
import { clockOf } from './clock.ts';
import { openCounters } from './counters.ts';
import type { Counters } from './counters.ts';
import { makeDeviceIo } from './device-io.ts';
import { makePoison } from './flush-vbd.ts';
import type { Poison } from './flush-vbd.ts';
import { limitRate, realPace } from './limit-rate.ts';
import { makeTrouble } from './make-trouble.ts';
import { areWitnesses, placesOf } from './open-devices.ts';
import { recordProcess } from './process-records.ts';
import type { Session } from './request-loop.ts';
import { makeSharedPage, sharedPageBytes } from './shared-page.ts';
import type { SharedPage } from './shared-page.ts';
import type { Socket } from './socket.ts';
import { makeStaging, STAGING_BYTES } from './staging.ts';
import { openVbdIo } from './vbd-io.ts';
import type { VbdIo } from './vbd-io.ts';
import { FLAG } from './wire/constants.ts';
import type { Export, Negotiated } from './wire/handshake.ts';

const STREAM_FROM_BYTES = 64 * 1024;
const PART_BYTES = 256 * 1024;

export type OpenedSession = {
  readonly exported: Export;
  /** So many from 0 on: what a process has to have open to serve this VBD. */
  readonly descriptors: number;
  /** Open as long as it serves; null = it has no page to lock. */
  readonly lock: number | null;
  session(socket: Socket, negotiated: Pick<Negotiated, 'structured' | 'contexts'>): Session;
};

/** Loaded only where somebody asks for faults. */
const chance = (): number => process.getBuiltinModule('node:crypto').randomInt(2 ** 32) / 2 ** 32;

export const readPlan = (folder: string): VbdPlan => JSON.parse(readFileSync(join(folder, 'plan.json'), 'utf8')) as VbdPlan;

/** Throws where this process can't be put on record: it must not serve then. */
export function openSession(folder: string, syscalls: Syscalls | null, placed = placesOf): OpenedSession {
  recordProcess({ processes: join(folder, 'processes') }, process.pid);
  const plan = readPlan(folder);
  const shared = mapShared(join(folder, 'shared'), plan.segments.length, syscalls);
  const page = shared?.page ?? pageOfItsOwn(plan);
  return sessionOf({
    plan,
    places: placed(plan),
    syscalls,
    page,
    poison: makePoison(page, join(folder, 'poisoned')),
    counters: openCounters(join(folder, 'counters'), syscalls),
    shares: shared !== null,
    lock: shared?.lock ?? null,
  });
}

export const pageOfItsOwn = ({ segments }: VbdPlan): SharedPage => makeSharedPage(new ArrayBuffer(sharedPageBytes(segments.length)), segments.length);

type SessionParts = {
  readonly plan: VbdPlan;
  readonly places: ReturnType<typeof placesOf>;
  readonly syscalls: Syscalls | null;
  readonly page: SharedPage;
  readonly poison: Poison;
  readonly counters: Counters;
  /** The page is that of all connections. */
  readonly shares: boolean;
  /** Of the page, with the lock by which others see that what this process has in flight has not ended yet; null = it has none. */
  readonly lock: number | null;
};

export function sessionOf({ plan, places, syscalls, page, poison, counters, shares, lock }: SessionParts): OpenedSession {
  const witnesses = areWitnesses(places.witnesses, places.devices) ? places.witnesses : [];
  const direct = plan.cache === 'none' ? (syscalls?.alignedMemory(STAGING_BYTES) ?? null) : null;
  const staging = direct === null ? null : makeStaging(direct, makeDeviceIo(syscalls));
  const whole = openVbdIo({ plan, fds: places.devices, witnesses, syscalls, page, poison, staging });
  const { io, filtered } = filter(whole, plan, page);
  const exported = exportOf(plan, shares);
  const [minimumBytes] = exported.blockSizes;
  return {
    exported,
    descriptors: places.end + witnesses.length,
    lock,
    session(socket, { structured, contexts }) {
      const served = { sizeBytes: plan.sizeBytes, readOnly: plan.mode === 'r', minimumBytes, contexts: contexts.length > 0 };
      // Whoever waits for a copy asks its pipe only.
      const writes = shares && lock !== null && plan.pipe === undefined;
      const ahead = filtered || direct === null ? null : openDirectAhead(io, syscalls, writes);
      const later = filtered || direct !== null || lock === null ? {} : { openAhead: () => openReadsAhead(io, syscalls, lock) };
      return { socket, io, ahead, ...later, ...partsOf(direct !== null, filtered), page, counters, clock: clockOf(syscalls), served, structured, contexts };
    },
  };
}

function filter(whole: VbdIo, { rate, delay, faults }: VbdPlan, page: SharedPage): { readonly io: VbdIo; readonly filtered: boolean } {
  const pace = realPace(page.booked);
  const slowed = rate === undefined ? whole : limitRate(whole, rate, pace);
  const troubled = delay !== undefined || faults !== undefined;
  const io = !troubled ? slowed : makeTrouble(slowed, { delay: delay ?? {}, faults: faults ?? {}, sleepMs: pace.sleepMs, chance });
  return { io, filtered: rate !== undefined || troubled };
}

/** Of direct I/O. `writes`: through the queue, too; else they are waited for. */
function openDirectAhead(io: VbdIo, syscalls: Syscalls | null, writes: boolean): AheadQueue | null {
  const queue = syscalls?.openRequestQueue(SLOTS, SLOT_BYTES) ?? null;
  return queue === null ? null : makeAheadQueue({ queue, slotBytes: SLOT_BYTES, writes, placeOf: (offset, length) => io.placeOf(offset, length) });
}

/** Through the page cache. */
function openReadsAhead(io: VbdIo, syscalls: Syscalls | null, lock: number): AheadQueue | null {
  const queue = syscalls?.openReadQueue(SLOTS, CACHED_SLOT_BYTES, lock) ?? null;
  const placeOf = (offset: number, length: number): Place => io.placeOf(offset, length);
  return queue === null ? null : makeAheadQueue({ queue, slotBytes: CACHED_SLOT_BYTES, writes: false, placeOf });
}

/** Direct I/O is best done in large pieces, and filters count pieces as requests. */
function partsOf(direct: boolean, filtered: boolean): Pick<Session, 'streamFrom' | 'gatherBytes' | 'partBytes'> {
  if (filtered) return { streamFrom: Infinity, gatherBytes: 0, partBytes: Infinity };
  if (direct) return { streamFrom: STAGING_BYTES, gatherBytes: STAGING_BYTES, partBytes: STAGING_BYTES };
  return { streamFrom: STREAM_FROM_BYTES, gatherBytes: 0, partBytes: PART_BYTES };
}

/** The descriptor with the lock is closed by the end of the process, or when it executes another program. */
function mapShared(path: string, segments: number, syscalls: Syscalls | null): { readonly page: SharedPage; readonly lock: number | null } | null {
  const fd = openSync(path, 'r+');
  const locked = syscalls?.lockByte(fd, process.pid) === 0;
  const memory = syscalls?.mapShared(fd, sharedPageBytes(segments)) ?? null;
  if (!locked || memory === null) closeSync(fd);
  return memory === null ? null : { page: makeSharedPage(memory, segments), lock: locked ? fd : null };
}

/** Several connections are offered only where a flush on one covers the writes of all: with the shared page. */
export function exportOf(plan: VbdPlan, shared: boolean): Export {
  const writable = FLAG.SEND_TRIM | FLAG.SEND_WRITE_ZEROES | FLAG.SEND_FAST_ZERO | FLAG.SEND_FUA;
  const flags = FLAG.HAS_FLAGS | FLAG.SEND_FLUSH | FLAG.SEND_DF | FLAG.SEND_CACHE | (shared ? FLAG.CAN_MULTI_CONN : 0);
  return {
    name: plan.exportName,
    description: 'xvd',
    sizeBytes: plan.sizeBytes,
    transmissionFlags: flags | (plan.mode === 'r' ? FLAG.READ_ONLY : writable),
    // Without system calls by address there is no direct I/O, and nothing has to be aligned.
    blockSizes: [plan.cache === 'none' && shared ? plan.blockBytes : 1, 4096, limits.nbdRequestBytes],
    contexts: CONTEXTS,
  };
}
