// At the start of the daemon: what a crash, a reboot or a kill left half-done is completed or undone, with an event.
// First everything that runs is taken over, so that guests wait as short as possible.

import { XvdError } from '../base/error.ts';
import type { Generation, Vbd } from '../core/types.ts';
import type { Hypervisor } from '../hypervisor/hypervisor.ts';
import { attachDue } from './after-reboot.ts';
import { plugOf, confirm } from './attach-vbd.ts';
import { change } from './change.ts';
import { dataPathOf, hypervisorOf } from './domains.ts';
import { endVbd, messageOf, setState } from './end-vbd.ts';
import { findMovedDevices } from './moved-devices.ts';
import { forgetLeftPipes, reapWorkers } from './reap-workers.ts';
import { undoStarts } from './start-domain.ts';
import type { System } from './system.ts';
import { exportNameOf, planOf } from './vbd-plan.ts';

export async function reconcile(system: System): Promise<void> {
  const bootId = await system.host.bootId();
  await findMovedDevices(system, 'daemon start');
  await undoStarts(system, bootId);
  const rows = await system.catalog.read((reader) => reader.vbds());
  const plugged = await lookAtPlugs(system);
  await closeUnknown(system, rows, plugged);
  for (const vbd of rows) {
    await guarded(system, vbd, () => (vbd.bootId === bootId ? takeOver(system, vbd, plugged) : afterReboot(system, vbd)));
  }
  await reapWorkers(system);
  await forgetLeftPipes(system);
  await attachDue(system);
}

/** One VBD that can't be mended must not keep the others from being served. */
async function guarded(system: System, vbd: Vbd, body: () => Promise<void>): Promise<void> {
  try {
    await body();
  } catch (error) {
    await change(system, 'daemon start', (tx) => tx.event('vbd.reserved', exportNameOf(vbd), { reason: messageOf(error) }));
  }
}

/** What each hypervisor says that is plugged; null when it can't tell: one guest that hangs must not keep the others from being served. */
type Plugged = ReadonlyMap<Hypervisor, ReadonlySet<Generation> | null>;

async function lookAtPlugs(system: System): Promise<Plugged> {
  const plugged = new Map<Hypervisor, ReadonlySet<Generation> | null>();
  for (const hypervisor of system.hypervisors) {
    try {
      plugged.set(hypervisor, new Set(await hypervisor.plugged()));
    } catch (error) {
      plugged.set(hypervisor, null);
      await change(system, 'daemon start', (tx) => tx.event('hypervisor.silent', hypervisor.name, { reason: messageOf(error) }));
    }
  }
  return plugged;
}

/** What can't be cleared away now is told, and tried again by the next daemon: the rest is served meanwhile. */
async function closeUnknown(system: System, rows: readonly Vbd[], plugged: Plugged): Promise<void> {
  const known = new Set(rows.map((vbd) => vbd.generation));
  const each = async (name: string, list: () => Promise<Iterable<Generation>>, end: (generation: Generation) => Promise<void>): Promise<void> => {
    try {
      for (const generation of await list()) if (!known.has(generation)) await end(generation);
    } catch (error) {
      await change(system, 'daemon start', (tx) => tx.event('daemon.not-cleared', name, { reason: messageOf(error) }));
    }
  };
  for (const [hypervisor, generations] of plugged) {
    const unplug = (generation: Generation): Promise<void> => hypervisor.unplug({ generation, domain: '', target: '', force: true });
    await each(hypervisor.name, async () => generations ?? [], unplug);
  }
  for (const path of system.dataPaths)
    await each(
      path.driver,
      () => path.list(),
      (generation) => path.close(generation),
    );
}

async function takeOver(system: System, vbd: Vbd, plugged: Plugged): Promise<void> {
  const hypervisor = hypervisorOf(system, vbd);
  // Who can't tell may still have it: its guest goes on when it can.
  const isPlugged = hypervisor === null || plugged.get(hypervisor)?.has(vbd.generation) !== false;
  if (vbd.state === 'attached' && isPlugged) {
    await dataPathOf(system, vbd.driver).open(await planOf(system, vbd));
    return;
  }
  if (vbd.state === 'detaching' && isPlugged) {
    await detachAgain(system, vbd);
    return;
  }
  if (vbd.state === 'attached' && hypervisor?.name === 'host') {
    // This host never ends without its boot: what is not plugged was taken away by a crash, and is put back.
    await plugBack(system, vbd);
    return;
  }
  await endVbd(system, vbd, { force: true, cause: 'daemon start' });
}

/** A detach without force that was cut off: the domain is asked again, and keeps what it still uses. */
async function detachAgain(system: System, vbd: Vbd): Promise<void> {
  await dataPathOf(system, vbd.driver).open(await planOf(system, vbd));
  try {
    await endVbd(system, vbd, { force: false, cause: 'daemon start', forget: true });
  } catch (error) {
    if (!(error instanceof XvdError) || error.code !== 'VBD_BUSY') throw error;
    await setState(system, vbd, 'attached', 'daemon start');
  }
}

export async function plugBack(system: System, vbd: Vbd): Promise<void> {
  const plan = await planOf(system, vbd);
  const endpoint = await dataPathOf(system, vbd.driver).open(plan);
  const plugged = await hypervisorOf(system, vbd)?.plug(plugOf(vbd, endpoint, plan.blockBytes));
  await confirm(system, vbd, endpoint, plugged?.devicePath ?? null);
}

/** A row of another boot is gone by that: no process and no page cache of it is left. */
async function afterReboot(system: System, vbd: Vbd): Promise<void> {
  // Only what lies in a folder: a host that lacks the driver now has nothing of it either.
  await system.dataPaths.find(({ driver }) => driver === vbd.driver)?.close(vbd.generation);
  await change(system, 'reboot', async (tx) => {
    await tx.writer.setVbdState(vbd.generation, 'detached');
    await tx.event('vbd.detached', exportNameOf(vbd), { reboot: true });
  });
}
