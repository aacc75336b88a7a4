// The one way in which a VBD ends: out of its domain, its data path proved gone, what it wrote settled, and only then its
// row. Every step can be repeated; what can't be proved leaves the row, and with it the extents reserved.

import { XvdError } from '../base/error.ts';
import type { Vbd, VbdPlan, VbdState } from '../core/types.ts';
import { change } from './change.ts';
import { dataPathOf, hypervisorOf } from './domains.ts';
import { attachKey } from './intents.ts';
import type { System } from './system.ts';
import { exportNameOf, planOf, rangesByDevice } from './vbd-plan.ts';

export type How = {
  readonly force: boolean;
  readonly cause: string;
  /** It is not to come back after a reboot either. */ readonly forget?: boolean;
};

export async function endVbd(system: System, vbd: Vbd, how: How): Promise<Vbd> {
  const { generation, domain, target } = vbd;
  const hypervisor = hypervisorOf(system, vbd);
  // Whether it has gone is asked below, as of any other.
  if (how.force && hypervisor?.forceLosesRequests === true)
    await dataPathOf(system, vbd.driver)
      .close(generation)
      .catch(() => undefined);
  try {
    await hypervisor?.unplug({ generation, domain, target, force: how.force });
  } catch (error) {
    // A domain that does not let go does not keep the data path open, when forced: its I/O fails from here on.
    if (!how.force) throw error;
    await change(system, how.cause, (tx) => tx.event('vbd.unplug-failed', exportNameOf(vbd), { reason: messageOf(error) }));
  }
  await fence(system, vbd);
  await change(system, how.cause, async (tx) => {
    await tx.writer.setVbdState(generation, 'detached');
    if (how.forget === true) await tx.writer.removeIntent('attach', attachKey(vbd));
    await tx.event('vbd.detached', exportNameOf(vbd), { force: how.force });
  });
  return { ...vbd, state: 'detached' };
}

/** Undoes a half-made attach. Where that can't be proved, the row stays and keeps the extents reserved; the caller tells the first error. */
export async function undoAttach(system: System, vbd: Vbd): Promise<void> {
  try {
    await endVbd(system, vbd, { force: true, cause: 'attach failed' });
  } catch (error) {
    await change(system, 'attach failed', (tx) => tx.event('vbd.reserved', exportNameOf(vbd), { reason: messageOf(error) }));
  }
}

async function fence(system: System, vbd: Vbd): Promise<void> {
  try {
    await dataPathOf(system, vbd.driver).close(vbd.generation);
    const plan = await planOf(system, vbd).catch((error: unknown) => absentOnly(error));
    if (plan !== null) await settlePlan(system, plan);
  } catch (error) {
    await setState(system, vbd, 'revoked', 'fence');
    throw error instanceof XvdError ? error : new XvdError('FENCE_UNPROVED', `${exportNameOf(vbd)} is not proved gone: ${messageOf(error)}`, { cause: error });
  }
}

/** A physical device that was pulled out has no cache left to settle; any other failure is one. */
function absentOnly(error: unknown): null {
  if (error instanceof XvdError && error.code === 'DEVICE_NOT_FOUND') return null;
  throw error;
}

async function settlePlan(system: System, plan: VbdPlan): Promise<void> {
  const ranges = rangesByDevice(plan);
  for (const [index, device] of plan.devices.entries()) await system.host.settle(device, ranges[index] ?? []);
}

export function setState(system: System, vbd: Vbd, state: VbdState, cause: string): Promise<void> {
  return change(system, cause, async (tx) => {
    const now = await tx.writer.vbd(vbd.generation);
    if (now === null || now.state === 'detached' || now.state === state) return;
    await tx.writer.setVbdState(vbd.generation, state);
    await tx.event(`vbd.${state}`, exportNameOf(vbd), {});
  });
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
