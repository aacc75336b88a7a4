// Starts a domain from its description: all or nothing. Its VBDs are checked, recorded and served first, then the
// hypervisor starts it with them; any failure ends the half-made domain and its VBDs.

import { XvdError } from '../base/error.ts';
import { validateDescription } from '../core/domain-description.ts';
import type { DomainDescription, ExpertLevel } from '../core/types.ts';
import type { DomainFacts, Hypervisor } from '../hypervisor/hypervisor.ts';
import { confirmIn, plugOf } from './attach-vbd.ts';
import { change } from './change.ts';
import { hypervisorOf } from './domains.ts';
import { endVbd, undoAttach } from './end-vbd.ts';
import { vbdInfo } from './info.ts';
import { reserveVbd } from './reserve-vbd.ts';
import type { Reserved } from './reserve-vbd.ts';
import type { Changed, DomainInfo, Warnings } from './shapes.ts';
import type { System } from './system.ts';

/** DOMAIN_EXISTS when it runs; whatever an attach of its disks answers; HYPERVISOR_FAILED with what the hypervisor said. */
export async function startDomain(system: System, value: unknown, options: { readonly expert?: ExpertLevel } = {}): Promise<DomainInfo & Warnings> {
  const description = validateDescription(value);
  const expert = options.expert ?? description.expert ?? 0;
  return system.queue(`domain:${description.name}`, async () => {
    const hypervisor = await pickHypervisor(system, description);
    for (const other of system.hypervisors) {
      if ((await other.find(description.name)) !== null) throw new XvdError('DOMAIN_EXISTS', `domain '${description.name}' runs already under ${other.name}`);
    }
    const bootId = await system.host.bootId();
    await endLeftOver(system, description.name, 'domain ended');
    const starting = { kind: 'starting', key: description.name, bootId, problem: null, value: { hypervisor: hypervisor.name as 'qemu' | 'xen' } } as const;
    await change(system, 'domain start', (tx) => tx.writer.putIntent(starting));
    const reserved: Reserved[] = [];
    try {
      for (const disk of description.disks) reserved.push(await reserve(system, hypervisor, description.name, disk, expert));
      const facts = await hypervisor.start(
        description,
        reserved.map(({ vbd, endpoint, blockBytes }) => plugOf(vbd, endpoint, blockBytes)),
      );
      return await tell(system, facts, reserved);
    } catch (error) {
      await undo(system, hypervisor, description.name, reserved);
      throw error;
    }
  });
}

async function pickHypervisor(system: System, description: DomainDescription): Promise<Hypervisor> {
  const able: Hypervisor[] = [];
  const reasons: string[] = [];
  for (const hypervisor of system.hypervisors) {
    if (hypervisor.name === 'host' || (description.hypervisor !== undefined && hypervisor.name !== description.hypervisor)) continue;
    const { available, reason } = await hypervisor.available();
    if (available) able.push(hypervisor);
    else reasons.push(`${hypervisor.name}: ${reason}`);
  }
  // Under Xen its own guests come first; QEMU is everywhere else.
  const chosen = able.find(({ name }) => name === 'xen') ?? able[0];
  if (chosen === undefined)
    throw new XvdError('NOT_SUPPORTED', `no hypervisor here can start '${description.name}'${reasons.length > 0 ? ` (${reasons.join('; ')})` : ''}`);
  return chosen;
}

async function reserve(
  system: System,
  hypervisor: Hypervisor,
  domain: string,
  disk: DomainDescription['disks'][number],
  expert: ExpertLevel,
): Promise<Reserved> {
  const reserved = await reserveVbd(system, { ...disk, domain, expert }, { domain, hypervisor });
  if ('already' in reserved) throw new XvdError('TARGET_TAKEN', `${disk.target} of domain ${domain} is attached already`);
  return reserved;
}

async function tell(system: System, facts: DomainFacts, reserved: readonly Reserved[]): Promise<DomainInfo & Warnings> {
  // All of it at once: a crash finds a domain that is whole, or one that is to be undone.
  const vbds = await change(system, 'domain start', async (tx) => {
    const attached = [];
    for (const { vbd, endpoint } of reserved) attached.push(vbdInfo(await confirmIn(tx, vbd, { endpoint, devicePath: null, identity: null })));
    await tx.writer.removeIntent('starting', facts.name);
    const promised = (await tx.writer.intents()).find(({ kind, key }) => kind === 'autostart' && key === facts.name);
    if (promised !== undefined) await tx.writer.putIntent({ ...promised, problem: null });
    await tx.event('domain.started', facts.name, { hypervisor: facts.hypervisor, id: facts.id });
    return attached;
  });
  return { name: facts.name, id: facts.id, hypervisor: facts.hypervisor, state: facts.state, vbds, warnings: reserved.flatMap(({ warnings }) => warnings) };
}

async function undo(system: System, hypervisor: Hypervisor, name: string, reserved: readonly Reserved[]): Promise<void> {
  const gone = await endHalfMade(hypervisor, name);
  for (const { vbd } of reserved) await undoAttach(system, vbd);
  // One that does not end is tried again by the next daemon.
  if (gone) await change(system, 'domain start failed', (tx) => tx.writer.removeIntent('starting', name));
}

async function endHalfMade(hypervisor: Hypervisor, name: string): Promise<boolean> {
  try {
    if ((await hypervisor.find(name)) !== null) await hypervisor.stop(name, { force: true });
    return true;
  } catch {
    return false;
  }
}

/** At the start of the daemon: a start that was cut off leaves no domain behind and nothing attached to one. */
export async function undoStarts(system: System, bootId: string): Promise<void> {
  for (const intent of await system.catalog.read((reader) => reader.intents())) {
    if (intent.kind !== 'starting') continue;
    const name = intent.key;
    const hypervisor = system.hypervisors.find((each) => each.name === intent.value.hypervisor);
    if (intent.bootId === bootId && hypervisor !== undefined) {
      if (!(await endHalfMade(hypervisor, name))) continue;
      const rows = (await system.catalog.read((reader) => reader.vbds({ domain: name }))).filter((vbd) => vbd.hypervisor === hypervisor.name);
      for (const vbd of rows) await undoAttach(system, vbd);
    }
    await change(system, 'daemon start', async (tx) => {
      await tx.writer.removeIntent('starting', name);
      await tx.event('domain.undone', name, { reason: 'its start was cut off' });
    });
  }
}

/** Asks the guest to power off (or pulls the plug, with `force`), and ends its VBDs. */
export async function stopDomain(system: System, options: { readonly name: string; readonly force?: boolean }): Promise<DomainInfo & Changed> {
  const { facts, hypervisor } = await findDomain(system, options.name);
  if (hypervisor.name === 'host') throw new XvdError('VALUE_INVALID', 'domain 0 is this host: it is not stopped by xvd');
  await hypervisor.stop(facts.name, { force: options.force === true });
  const vbds = await endDomain(system, facts.name, 'domain stop');
  return { name: facts.name, id: facts.id, hypervisor: facts.hypervisor, state: 'stopped', vbds, changed: true };
}

/** A domain has ended for good: so do its VBDs. Gives what was ended. */
export async function endDomain(system: System, domain: string, cause: string): Promise<DomainInfo['vbds']> {
  return system.queue(`domain:${domain}`, async () => {
    const ended = await endLeftOver(system, domain, cause);
    if (ended.length > 0) await change(system, cause, (tx) => tx.event('domain.ended', domain, {}));
    return ended;
  });
}

/** Ends the VBDs that no domain of that name has. A new domain may have taken the name by now: what is plugged into it stays. One
 *  that can't be proved gone keeps none of the others. */
async function endLeftOver(system: System, domain: string, cause: string): Promise<DomainInfo['vbds'][number][]> {
  const ended = [];
  const failed: unknown[] = [];
  for (const vbd of await system.catalog.read((reader) => reader.vbds({ domain }))) {
    const hypervisor = hypervisorOf(system, vbd);
    if (vbd.hypervisor === 'none' || hypervisor === null) continue;
    try {
      const runs = (await hypervisor.find(domain)) !== null;
      if (runs && (await hypervisor.plugged()).includes(vbd.generation)) continue;
      ended.push(vbdInfo(await endVbd(system, vbd, { force: true, cause })));
    } catch (error) {
      failed.push(error);
    }
  }
  if (failed.length > 0) throw failed[0];
  return ended;
}

async function findDomain(system: System, name: string): Promise<{ facts: DomainFacts; hypervisor: Hypervisor }> {
  for (const hypervisor of system.hypervisors) {
    const facts = await hypervisor.find(name);
    if (facts !== null) return { facts, hypervisor };
  }
  throw new XvdError('DOMAIN_NOT_FOUND', `no domain '${name}' runs here`);
}

export async function listDomains(system: System): Promise<DomainInfo[]> {
  const rows = await system.catalog.read((reader) => reader.vbds());
  const domains: DomainInfo[] = [];
  for (const hypervisor of system.hypervisors) {
    for (const { name, id, state } of await hypervisor.domains()) {
      domains.push({
        name,
        id,
        hypervisor: hypervisor.name,
        state,
        vbds: rows.filter((vbd) => vbd.domain === name && vbd.hypervisor === hypervisor.name).map(vbdInfo),
      });
    }
  }
  return domains;
}

/** Where the console of a domain can be reached. */
export async function consoleOf(system: System, options: { readonly name: string }): Promise<{ path: string }> {
  const { facts, hypervisor } = await findDomain(system, options.name);
  return { path: await hypervisor.console(facts.name) };
}
