// After a reboot of the host, and whenever the daemon starts: what was to be attached again is attached, and domains start, all in
// the order in which they were asked for. What can't be done is said.

import { XvdError } from '../base/error.ts';
import type { DeviceIdentity, ExpertLevel, Intent } from '../core/types.ts';
import { attachVbd } from './attach-vbd.ts';
import { change } from './change.ts';
import { messageOf } from './end-vbd.ts';
import { sourceName } from './info.ts';
import { cannot, done, isDue } from './intents.ts';
import type { AttachIntent } from './intents.ts';
import { placesOf } from './moved-devices.ts';
import { startDomain } from './start-domain.ts';
import type { System } from './system.ts';
import { filterTexts } from './vbd-plan.ts';

/** To this host and to those who connect by themselves: before anybody mounts them. */
export async function attachDue(system: System): Promise<void> {
  for (const intent of await due(system)) if (intent.kind === 'attach' && !isGuest(intent)) await attachAgain(system, intent);
}

/** Domains, and then what was attached to them while they ran. */
export async function startDue(system: System, expert: ExpertLevel): Promise<void> {
  const intents = await due(system);
  for (const intent of intents) if (intent.kind === 'autostart') await startAgain(system, intent, expert);
  for (const intent of intents) if (intent.kind === 'attach' && isGuest(intent)) await attachAgain(system, intent);
}

const isGuest = ({ value }: AttachIntent): boolean => value.vbd.hypervisor === 'qemu' || value.vbd.hypervisor === 'xen';

async function due(system: System): Promise<Intent[]> {
  const bootId = await system.host.bootId();
  return (await system.catalog.read((reader) => reader.intents())).filter((intent) => isDue(intent, bootId));
}

async function attachAgain(system: System, intent: AttachIntent): Promise<void> {
  const { vbd, identity } = intent.value;
  const { target, domain, mode, driver, cache, sharing } = vbd;
  const bootId = await system.host.bootId();
  try {
    const source = identity === null ? sourceName(vbd.source) : `phy:${await placeOfIdentity(system, sourceName(vbd.source).slice(4), identity)}`;
    // The host may lack what it had in the boot before; and with a driver, a guest that is not there would only be served.
    const chosen = !isGuest(intent) && system.dataPaths.some((path) => path.driver === driver) ? driver : 'auto';
    const options = { source, target, domain, mode, driver: chosen, cache, expert: sharing, persist: true, ...filterTexts(vbd) } as const;
    await attachVbd(system, options);
    await change(system, 'reboot', (tx) => done(tx, intent, bootId));
  } catch (error) {
    await change(system, 'reboot', async (tx) => {
      await cannot(tx, intent, bootId, messageOf(error));
      await tx.event('vbd.not-attached', `${domain}/${target.replace('/dev/', '')}`, { source: sourceName(vbd.source), reason: messageOf(error) });
    });
  }
}

async function placeOfIdentity(system: System, path: string, identity: DeviceIdentity): Promise<string> {
  const wanted = JSON.stringify(identity);
  const isIt = async (at: string): Promise<boolean> => {
    const facts = await system.host.inspect(at).catch(() => null);
    return facts !== null && JSON.stringify(facts.identity) === wanted;
  };
  if (await isIt(path)) return path;
  const [found, second] = identity.kind === 'path' || identity.kind === 'file' ? [] : await placesOf(system, isIt);
  if (found === undefined) throw new XvdError('DEVICE_NOT_FOUND', `what was ${path} is not here: no device has its identity`);
  if (second !== undefined) throw new XvdError('DEVICE_IDENTITY_MISMATCH', `${found} and ${second} both have the identity of what was ${path}`);
  return found;
}

async function startAgain(system: System, intent: Extract<Intent, { kind: 'autostart' }>, expert: ExpertLevel): Promise<void> {
  const bootId = await system.host.bootId();
  const { description } = intent.value;
  try {
    await startDomain(system, description, { expert: description.expert ?? expert });
  } catch (error) {
    if (!(error instanceof XvdError) || error.code !== 'DOMAIN_EXISTS') {
      return change(system, 'reboot', async (tx) => {
        await cannot(tx, intent, bootId, messageOf(error));
        await tx.event('domain.not-started', description.name, { reason: messageOf(error) });
      });
    }
  }
  await change(system, 'reboot', (tx) => done(tx, intent, bootId));
}
