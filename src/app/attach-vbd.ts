// Attach: intent (a row), action (serve, plug), outcome (the row says attached) — or all of it undone.

import type { DeviceIdentity, Endpoint, Vbd } from '../core/types.ts';
import { change } from './change.ts';
import type { Change } from './change.ts';
import { placeOf } from './domains.ts';
import type { Place } from './domains.ts';
import { undoAttach } from './end-vbd.ts';
import { sourceName, vbdInfo } from './info.ts';
import { attachIntent, attachKey, identityOf } from './intents.ts';
import { DryRunAttach, reserveVbd } from './reserve-vbd.ts';
import type { AttachInfo, AttachOptions, Changed, Warnings, VbdInfo } from './shapes.ts';
import type { System } from './system.ts';
import { exportNameOf } from './vbd-plan.ts';

/** Puts a disk (`vd:`) or physical device (`phy:`) into a domain. SHARING_REFUSED, TARGET_TAKEN, DISK_EXPIRED, DOMAIN_NOT_FOUND … */
export async function attachVbd(system: System, options: AttachOptions): Promise<AttachInfo & Changed & Warnings> {
  const place = await placeOf(system, options.domain, options.driver === 'nbd');
  return system.queue(`domain:${place.domain}`, async () => {
    try {
      return await attach(system, options, place);
    } catch (error) {
      if (error instanceof DryRunAttach) return { ...vbdInfo(error.vbd), changed: false, conflicts: error.conflicts, warnings: error.warnings };
      throw error;
    }
  });
}

async function attach(system: System, options: AttachOptions, place: Place): Promise<AttachInfo & Changed & Warnings> {
  const reserved = await reserveVbd(system, options, place);
  if ('already' in reserved) return { ...(await promise(system, reserved.already, options)), conflicts: [], warnings: [] };
  const { vbd, endpoint, warnings, conflicts, blockBytes } = reserved;
  try {
    const plugged = await place.hypervisor?.plug(plugOf(vbd, endpoint, blockBytes));
    const attached = await confirm(system, vbd, endpoint, plugged?.devicePath ?? null);
    return { ...vbdInfo(attached), changed: true, conflicts, warnings };
  } catch (error) {
    await undoAttach(system, vbd);
    throw error;
  }
}

/** What is attached already, and is to come back from now on. */
async function promise(system: System, vbd: Vbd, { persist = false }: AttachOptions): Promise<VbdInfo & Changed> {
  if (!persist || vbd.persist) return { ...vbdInfo(vbd), changed: false };
  const kept = { ...vbd, persist: true };
  const identity = await identityOf(system, kept);
  await change(system, 'attach', async (tx) => {
    await tx.writer.updateVbd(kept);
    await tx.writer.putIntent(attachIntent(kept, identity));
  });
  return { ...vbdInfo(kept), changed: true };
}

export const plugOf = (vbd: Vbd, endpoint: Endpoint, blockBytes: 512 | 4096) => ({
  generation: vbd.generation,
  domain: vbd.domain,
  target: vbd.target,
  vdev: vbd.vdev,
  mode: vbd.mode,
  // What a guest finds under /dev/disk/by-id; virtio keeps 20 characters.
  serial: sourceName(vbd.source)
    .replace(/[^A-Za-z0-9._-]/g, '-')
    .slice(0, 20),
  endpoint,
  blockBytes,
});

export async function confirm(system: System, vbd: Vbd, endpoint: Endpoint, devicePath: string | null): Promise<Vbd> {
  const identity = await identityOf(system, vbd);
  return change(system, 'attach', (tx) => confirmIn(tx, vbd, { endpoint, devicePath, identity }));
}

type Outcome = { readonly endpoint: Endpoint; readonly devicePath: string | null; readonly identity: DeviceIdentity | null };

export async function confirmIn(tx: Change, vbd: Vbd, { endpoint, devicePath, identity }: Outcome): Promise<Vbd> {
  const uri = endpoint.kind === 'nbd' ? endpoint.uri : null;
  const attached: Vbd = {
    ...vbd,
    state: 'attached',
    uri,
    devicePath: devicePath ?? (endpoint.kind === 'block' && vbd.hypervisor === 'host' ? endpoint.path : null),
  };
  await tx.writer.updateVbd(attached);
  // What is there now is what comes back: an older promise for that target is off.
  if (attached.persist) await tx.writer.putIntent(attachIntent(attached, identity));
  else await tx.writer.removeIntent('attach', attachKey(attached));
  await tx.event('vbd.attached', exportNameOf(vbd), { source: sourceName(vbd.source), mode: vbd.mode });
  return attached;
}
