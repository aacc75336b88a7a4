// The lease keeper: one round. Tells of leases that ended and of those that are about to end while attached, and revokes
// what is attached past its lease (policy `revoke`). The caller sleeps until the time that a round gives.

import { XvdError } from '../base/error.ts';
import type { WallMs } from '../base/units.ts';
import { diskState } from '../core/lease.ts';
import type { Disk, Generation, Vbd } from '../core/types.ts';
import { change, look } from './change.ts';
import { stopCopies } from './copies.ts';
import { messageOf } from './end-vbd.ts';
import { unameOf } from './find-disk.ts';
import { revokeVbd } from './revoke-vbd.ts';
import type { System } from './system.ts';
import { exportNameOf } from './vbd-plan.ts';

const WARNING_MS = 60_000;
const PAGE = 1_000;

/** What the keeper remembers between rounds. */
export type LeaseMemory = {
  since: WallMs | null;
  readonly warned: Map<number, WallMs>;
  /** VBDs that could not be ended: when that is tried again, and what was said last. */
  readonly failed: Map<Generation, { readonly againMs: number; readonly waitMs: number; readonly reason: string }>;
};
export const leaseMemory = (): LeaseMemory => ({ since: null, warned: new Map(), failed: new Map() });
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 60_000;
/** VBDs that are ended at once: one whose device hangs is waited for, and must not hold up the rest. */
const REVOKES_AT_ONCE = 8;

export async function keepLeases(system: System, memory: LeaseMemory): Promise<{ nextWakeMs: number | null }> {
  const view = await look(system, async (reader, now) => {
    const since = memory.since ?? (await reader.lastClock())?.trustedMs ?? now.trusted;
    const vbds = await reader.vbds();
    const attached: { vbd: Vbd; disk: Disk }[] = [];
    for (const vbd of vbds) {
      const disk = vbd.source.kind === 'vd' ? await reader.disk(vbd.source.diskId) : null;
      if (disk !== null) attached.push({ vbd, disk });
    }
    const copied: (Disk | null)[] = [];
    for (const { diskId } of system.copies?.values() ?? []) copied.push(await reader.disk(diskId));
    // A revoke that has begun ends its VBD, whatever happened to the lease since.
    const begun = vbds.filter((vbd) => vbd.state === 'revoked');
    return { ...now, attached, copied, begun, ends: await reader.nextExpiries(since, PAGE) };
  });
  const ended = view.ends.filter((disk) => disk.expiresAt !== null && disk.expiresAt <= view.trusted);
  await tellEnded(system, ended);
  memory.since = view.trusted;
  await warn(system, memory, view.now, view.attached);
  const over = view.attached.filter(({ disk }) => disk.expiresAt !== null && disk.expiresAt <= view.trusted && disk.onExpiry === 'revoke');
  const due = new Map([...view.begun, ...over.map(({ vbd }) => vbd)].map((vbd) => [vbd.generation, vbd]));
  for (const generation of memory.failed.keys()) if (!due.has(generation)) memory.failed.delete(generation);
  await revokeAll(system, memory, view.now, [...due.values()]);
  stopOver(
    system,
    view.copied.filter((disk) => disk !== null),
    view.trusted,
  );
  const retries = [...memory.failed.values()].map(({ againMs }) => againMs);
  return { nextWakeMs: nextWake(view.now, view.ends, view.attached, retries) };
}

async function tellEnded(system: System, ended: readonly Disk[]): Promise<void> {
  if (ended.length === 0) return;
  await change(system, 'lease', async (tx) => {
    for (const disk of ended) {
      const still = await tx.writer.disk(disk.id);
      if (still === null || diskState(still, tx.now) === 'live' || still.expiresAt !== disk.expiresAt) continue;
      await tx.event('disk.expired', unameOf(disk), { expiresAt: disk.expiresAt });
    }
  });
}

async function warn(system: System, memory: LeaseMemory, now: WallMs, attached: readonly { vbd: Vbd; disk: Disk }[]): Promise<void> {
  for (const { vbd, disk } of attached) {
    const { expiresAt } = disk;
    if (expiresAt === null || expiresAt <= now || expiresAt - now > WARNING_MS || memory.warned.get(disk.id) === expiresAt) continue;
    memory.warned.set(disk.id, expiresAt);
    await change(system, 'lease', (tx) => tx.event('disk.expiring', unameOf(disk), { expiresAt, domain: vbd.domain, target: vbd.target }));
  }
}

/** A copy of a disk whose lease is over ends like a VBD of it; nobody waits here until it has. */
function stopOver(system: System, disks: readonly Disk[], trusted: WallMs): void {
  for (const disk of disks) {
    if (disk.expiresAt === null || disk.expiresAt > trusted || disk.onExpiry !== 'revoke') continue;
    void stopCopies(system, new XvdError('DISK_EXPIRED', `the lease of ${unameOf(disk)} is over`), ({ diskId }) => diskId === disk.id);
  }
}

async function revokeAll(system: System, memory: LeaseMemory, now: WallMs, vbds: readonly Vbd[]): Promise<void> {
  const waiting = vbds.values();
  const next = async (): Promise<void> => {
    for (const vbd of waiting) await revoke(system, memory, now, vbd);
  };
  await Promise.all(Array.from({ length: REVOKES_AT_ONCE }, next));
}

/** One that can't be revoked now stays reserved, is told once, and is tried again after a while that grows. */
async function revoke(system: System, memory: LeaseMemory, now: WallMs, vbd: Vbd): Promise<void> {
  const before = memory.failed.get(vbd.generation);
  if (before !== undefined && now < before.againMs) return;
  try {
    await revokeVbd(system, vbd.generation, 'lease');
    memory.failed.delete(vbd.generation);
  } catch (error) {
    const reason = messageOf(error);
    const waitMs = before === undefined ? FIRST_RETRY_MS : Math.min(2 * before.waitMs, LAST_RETRY_MS);
    memory.failed.set(vbd.generation, { againMs: now + waitMs, waitMs, reason });
    // An event at each try would be a change that wakes the keeper, and would push older events out.
    if (before?.reason !== reason) await change(system, 'lease', (tx) => tx.event('vbd.reserved', exportNameOf(vbd), { reason }));
  }
}

function nextWake(now: WallMs, ends: readonly Disk[], attached: readonly { disk: Disk }[], retries: readonly number[]): number | null {
  const times = [...retries];
  times.push(...ends.flatMap(({ expiresAt }) => (expiresAt === null ? [] : [expiresAt as number])));
  for (const { disk } of attached) if (disk.expiresAt !== null) times.push(disk.expiresAt, disk.expiresAt - WARNING_MS);
  const next = Math.min(...times.filter((time) => time > now));
  return Number.isFinite(next) ? next - now : null;
}
