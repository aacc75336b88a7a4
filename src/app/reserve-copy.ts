// The frame of an image copy: who copies is checked and recorded as a user of the disk (`copy`: an import writes, an export
// reads), the disk is served to it alone, and it is fenced like any user before its row goes.

import { XvdError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import { diskState } from '../core/lease.ts';
import type { Disk, Endpoint, ExpertLevel, SectorUser, VbdPlan, XvdEvent } from '../core/types.ts';
import { change, look } from './change.ts';
import type { Change } from './change.ts';
import { dataPathOf } from './domains.ts';
import { messageOf } from './end-vbd.ts';
import { unameOf } from './find-disk.ts';
import { changeFresh } from './fresh-view.ts';
import { markDirty, outsideUsers } from './reserve-vbd.ts';
import { catalogUsers, footprintOfDisk, refuseUnusableRuns } from './sector-users.ts';
import type { Places } from './sector-users.ts';
import { allowSharing } from './sharing-check.ts';
import type { System } from './system.ts';
import { planOfDisk, rangesByDevice } from './vbd-plan.ts';

export type CopyWant = {
  readonly kind: 'import' | 'export';
  readonly diskId: number;
  readonly expert: ExpertLevel;
  readonly image: string;
  readonly totalBytes: number;
  /** Ends it when the one who asked went away. */
  readonly signal?: AbortSignal;
};

export type CopyFrame = {
  readonly disk: Disk;
  readonly endpoint: Endpoint;
  /** The disk read as zeros before this. */
  readonly wasClean: boolean;
  readonly startedEvent: number;
  readonly warnings: readonly string[];
  readonly signal: AbortSignal;
  readonly progress: (doneBytes: number) => void;
  /** DEVICE_FAILED when anything that was asked of the disk failed: a failed flush is told to nobody else. */
  readonly proveWritten: () => Promise<void>;
};

type Reserved = { readonly disk: Disk; readonly plan: VbdPlan; readonly workerId: number; readonly wasClean: boolean; readonly startedEvent: number } & {
  readonly use: SectorUser;
  readonly places: Places;
  readonly warnings: readonly string[];
};

/** Runs the body while the disk is served to it. SHARING_REFUSED, DISK_EXPIRED, DISK_PREPARING; FENCE_UNPROVED when it can't be ended. */
export async function asCopy<T>(system: System, want: CopyWant, body: (frame: CopyFrame) => Promise<T>): Promise<T> {
  const pipe = `copy-${system.random.uuid()}`;
  const alive = await system.host.holdAlive(pipe);
  // While a row names the pipe it stays: its end is the proof for whoever looks later.
  const row = { isThere: false };
  try {
    const reserved = await reserve(system, want, await system.host.bootId(), { pipe, pid: alive.pid, startTicks: alive.startTicks });
    row.isThere = true;
    return await attempt(system, want, reserved, row, body);
  } finally {
    await alive[Symbol.asyncDispose]();
    if (!row.isThere) await system.host.forgetAlive(pipe);
  }
}

function reserve(system: System, want: CopyWant, bootId: string, process: { pipe: string; pid: number; startTicks: number }): Promise<Reserved> {
  return changeFresh(system, want.kind, async (tx, { places, outside }) => {
    const { writer } = tx;
    const disk = await writer.disk(want.diskId);
    if (disk === null) throw new XvdError('DISK_NOT_FOUND', `no disk vd:${want.diskId}`);
    refuseUnfit(disk, tx);
    const devices = new Map((await writer.devices()).map((device) => [device.id, device]));
    const runs = await writer.runs(disk.id);
    refuseUnusableRuns(runs, places);
    const mode = want.kind === 'import' ? 'w' : 'r';
    const use: SectorUser = { kind: 'copy', name: `${want.kind} of ${unameOf(disk)}`, mode, footprint: footprintOfDisk(disk, runs, devices, places) };
    const { warnings } = allowSharing(use, [...outside, ...(await catalogUsers(writer, places))], want.expert, places);
    const generation = (await writer.highest()).generation + 1;
    await writer.raiseNumbers({ generation });
    const worker = await writer.addWorker({ kind: want.kind, diskId: disk.id, bootId, ...process });
    if (mode === 'w') await markDirty(tx, disk.id);
    await tx.event(`${want.kind}.started`, unameOf(disk), { image: want.image });
    const cache = runs.every((run) => devices.get(run.deviceId)?.kind === 'file') ? 'writeback' : 'none';
    const head = { generation, exportName: `copy/vd-${disk.id}@${generation}`, mode, sizeBytes: disk.sizeBytes, cache, pipe: process.pipe } as const;
    const plan: VbdPlan = { ...head, ...(await planOfDisk(writer, disk.id)) };
    const startedEvent = (await writer.highest()).event;
    return { disk, plan, workerId: worker.id, wasClean: runs.every((run) => run.clean), startedEvent, use, places, warnings };
  });
}

export function refuseUnfit(disk: Disk, { now }: Pick<Change, 'now'>): void {
  const state = diskState(disk, now);
  if (state === 'preparing') throw new XvdError('DISK_PREPARING', `${unameOf(disk)} is still being prepared`);
  if (state === 'expired') throw new XvdError('DISK_EXPIRED', `the lease of ${unameOf(disk)} is over`);
  if (state === 'reclaimed') throw new XvdError('DISK_RECLAIMED', `the lease of ${unameOf(disk)} is over and ${disk.lostBytes} bytes of it are lost`);
}

async function attempt<T>(system: System, want: CopyWant, reserved: Reserved, row: { isThere: boolean }, body: (frame: CopyFrame) => Promise<T>): Promise<T> {
  const { disk, plan, workerId, use, places, wasClean, startedEvent, warnings } = reserved;
  const stop = new AbortController();
  const ended = Promise.withResolvers<void>();
  const gone = (): void => stop.abort(new XvdError('COPY_STOPPED', `the ${want.kind} of ${unameOf(disk)} was interrupted`));
  want.signal?.addEventListener('abort', gone);
  if (want.signal?.aborted === true) gone();
  const progress = { kind: want.kind, disk: unameOf(disk), image: want.image, doneBytes: 0, totalBytes: want.totalBytes };
  const told = { ...progress };
  system.copies?.set(workerId, { diskId: disk.id, progress: told, stop: (reason) => stop.abort(reason), ended: ended.promise });
  const outcome: { error?: unknown } = {};
  try {
    // What others can change is read again before the disk becomes reachable.
    allowSharing(use, await outsideUsers(system), want.expert, places);
    const endpoint = await dataPathOf(system, 'nbd').open(plan);
    const frame = {
      disk,
      endpoint,
      wasClean,
      startedEvent,
      warnings,
      signal: stop.signal,
      progress: (done: number) => void (told.doneBytes = done),
      proveWritten: () => proveWritten(system, plan),
    };
    return await body(frame);
  } catch (error) {
    outcome.error = error;
    throw error;
  } finally {
    want.signal?.removeEventListener('abort', gone);
    try {
      await end(system, want, reserved, outcome);
      row.isThere = false;
    } finally {
      system.copies?.delete(workerId);
      ended.resolve();
    }
  }
}

async function proveWritten(system: System, { generation, exportName }: VbdPlan): Promise<void> {
  const stats = await dataPathOf(system, 'nbd').stats(generation);
  if ((stats?.errors ?? 0) > 0) throw new XvdError('DEVICE_FAILED', `${stats?.errors} requests of ${exportName} failed: what was copied is not all there`);
}

/** Proved gone, and what it wrote settled; only then its row goes. */
async function end(system: System, { kind, image }: CopyWant, { disk, plan, workerId }: Reserved, { error }: { error?: unknown }): Promise<void> {
  try {
    await dataPathOf(system, 'nbd').close(plan.generation);
    const ranges = rangesByDevice(plan);
    if (kind === 'import') for (const [index, device] of plan.devices.entries()) await system.host.settle(device, ranges[index] ?? []);
  } catch (unproved) {
    throw new XvdError('FENCE_UNPROVED', `the ${kind} of ${unameOf(disk)} is not proved gone: ${messageOf(unproved)}`, { cause: unproved });
  }
  await change(system, kind, async (tx) => {
    await tx.writer.removeWorker(workerId);
    await tx.event(`${kind}.${error === undefined ? 'ended' : 'failed'}`, unameOf(disk), {
      image,
      ...(error === undefined ? {} : { reason: messageOf(error) }),
    });
  });
}

/** Everything that happened in between; null when it is not kept any more. And whether somebody has the disk attached for writing now. */
export function happenedSince(system: System, diskId: number, since: number, before: number): Promise<{ events: XvdEvent[] | null; written: boolean }> {
  return look(system, async (reader) => {
    const written = (await reader.vbds({ diskId })).some((vbd) => vbd.mode === 'w');
    const events: XvdEvent[] = [];
    for (let after = since - 1; ;) {
      const page = await reader.events(after, limits.eventPage);
      const [first] = page;
      if (first === undefined) return { events: null, written };
      if (after === since - 1 && first.id !== since) return { events: null, written };
      events.push(...page.filter(({ id }) => id > since && id < before));
      after = page.at(-1)?.id ?? after;
      if (after >= before) return { events, written };
    }
  });
}
