// From the name of a domain to the hypervisor that has it.

import { XvdError } from '../base/error.ts';
import { chooseDriver } from '../core/choose-driver.ts';
import type { DriverFacts } from '../core/choose-driver.ts';
import { requireName } from '../core/name.ts';
import type { Driver, Vbd } from '../core/types.ts';
import type { DataPath } from '../datapath/datapath.ts';
import type { Hypervisor } from '../hypervisor/hypervisor.ts';
import type { System } from './system.ts';

export type Place = { readonly domain: string; readonly hypervisor: Hypervisor | null };

/** A name that two hypervisors know is refused; one that none knows is taken with `served` only (its consumer connects by itself). */
export async function placeOf(system: System, domain: string, served: boolean): Promise<Place> {
  const found: { name: string; hypervisor: Hypervisor }[] = [];
  for (const hypervisor of system.hypervisors) {
    const facts = await hypervisor.find(domain);
    if (facts !== null) found.push({ name: facts.name, hypervisor });
  }
  const [first, second] = found;
  if (second !== undefined)
    throw new XvdError('VALUE_INVALID', `domain '${domain}' is known to ${found.map(({ hypervisor }) => hypervisor.name).join(' and ')}`, {
      fix: 'Rename one of them.',
    });
  if (first !== undefined) return { domain: first.name, hypervisor: first.hypervisor };
  if (domain === '0') throw new XvdError('NOT_SUPPORTED', 'this host cannot take disks itself', { fix: 'Run the daemon as root on Linux.' });
  if (!served) {
    throw new XvdError('DOMAIN_NOT_FOUND', `no hypervisor here knows domain '${domain}'`, {
      fix: 'Start it first; or use --driver nbd, when its consumer connects to the uri by itself.',
    });
  }
  if (/^\d+$/.test(domain)) throw new XvdError('VALUE_INVALID', `a new domain name cannot be made of digits only: '${domain}'`);
  return { domain: requireName(domain, 'domain'), hypervisor: null };
}

export const hypervisorOf = (system: System, vbd: Vbd): Hypervisor | null => system.hypervisors.find(({ name }) => name === vbd.hypervisor) ?? null;

export function dataPathOf(system: System, driver: Driver): DataPath {
  const found = system.dataPaths.find((path) => path.driver === driver);
  if (found === undefined)
    throw new XvdError('NOT_SUPPORTED', `this host has no ${driver === 'dm' ? 'device-mapper' : 'NBD data path'}`, { fix: 'Use --driver auto.' });
  return found;
}

/** Of the two kinds of path the one that this VBD gets; DISK_BUSY when its source is attached by the other kind. */
export function pickDriver(facts: DriverFacts, source: string): Driver {
  const choice = chooseDriver(facts);
  if (choice.kind === 'chosen') return choice.driver;
  if (choice.busy) throw new XvdError('DISK_BUSY', `${source}: ${choice.reason}`, { fix: 'Detach it there first, or use --driver auto without limits.' });
  throw new XvdError('NOT_SUPPORTED', `${source}: ${choice.reason}`, { fix: 'Use --driver auto.' });
}
