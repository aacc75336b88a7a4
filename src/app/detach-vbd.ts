// Detach: co-operative, or by force. It returns only when no write of the VBD can arrive any more.

import { XvdError } from '../base/error.ts';
import { parseTarget } from '../core/target.ts';
import type { Vbd } from '../core/types.ts';
import { change } from './change.ts';
import { endVbd, setState } from './end-vbd.ts';
import { vbdInfo } from './info.ts';
import { attachKey } from './intents.ts';
import type { Changed, DetachOptions, VbdInfo, Warnings } from './shapes.ts';
import type { System } from './system.ts';
import { exportNameOf } from './vbd-plan.ts';

/** Takes a VBD out of its domain. VBD_NOT_FOUND; VBD_BUSY while the domain uses it, unless forced; FENCE_UNPROVED. */
export async function detachVbd(system: System, options: DetachOptions): Promise<VbdInfo & Changed & Warnings> {
  const domain = await domainName(system, options.domain);
  return system.queue(`domain:${domain}`, async () => {
    const { target, vdev } = parseTarget(options.target);
    const vbd = (await system.catalog.read((reader) => reader.vbds({ domain }))).find((row) => row.vdev === vdev);
    if (options.generation !== undefined && vbd?.generation !== options.generation) {
      const now = vbd === undefined ? 'nothing is attached there' : `${exportNameOf(vbd)} is there now`;
      throw new XvdError('VBD_NOT_FOUND', `${target} of domain ${domain} is no longer generation ${options.generation}: ${now}`);
    }
    if (vbd === undefined) return forget(system, domain, target, vdev);
    return { ...vbdInfo(await detach(system, vbd, options.force === true)), changed: true, warnings: [] };
  });
}

/** What was to come back after a reboot and did not is not attached, and yet there is something to take away: the promise. */
async function forget(system: System, domain: string, target: string, vdev: number): Promise<VbdInfo & Changed & Warnings> {
  return change(system, 'detach', async (tx) => {
    const intent = (await tx.writer.intents()).find((each) => each.kind === 'attach' && each.key === attachKey({ domain, vdev }));
    if (intent?.kind !== 'attach') throw new XvdError('VBD_NOT_FOUND', `domain ${domain} has no ${target}`);
    await tx.writer.removeIntent('attach', intent.key);
    const warnings = ['it was not attached; it will not be after a reboot either'];
    return { ...vbdInfo({ ...intent.value.vbd, state: 'detached' }), changed: true, warnings };
  });
}

async function detach(system: System, vbd: Vbd, force: boolean): Promise<Vbd> {
  // What a crash cuts off here is completed at the next start the way it was meant: by asking, or by force.
  await setState(system, vbd, force ? 'revoked' : 'detaching', 'detach');
  try {
    return await endVbd(system, vbd, { force, cause: 'detach', forget: true });
  } catch (error) {
    if (error instanceof XvdError && error.code === 'VBD_BUSY') await setState(system, vbd, 'attached', 'detach refused');
    throw error;
  }
}

/** Rows bear names; a user may give the hypervisor's number. A domain that is gone still has the name it had. */
async function domainName(system: System, domain: string): Promise<string> {
  const rows = await system.catalog.read((reader) => reader.vbds({ domain }));
  const [first] = rows;
  if (first !== undefined) return first.domain;
  for (const hypervisor of system.hypervisors) {
    const facts = await hypervisor.find(domain);
    if (facts !== null) return facts.name;
  }
  return domain;
}
