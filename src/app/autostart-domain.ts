// Autostart: the description of a domain is kept, and the domain starts with the first daemon of each boot.

import { validateDescription } from '../core/domain-description.ts';
import { change } from './change.ts';
import type { AutostartInfo, Changed } from './shapes.ts';
import type { CatalogSystem } from './system.ts';

/** Keeps it as it is now: a file that is changed later is to be given again. What runs is left alone. */
export async function autostartDomain(system: CatalogSystem, value: unknown): Promise<AutostartInfo & Changed> {
  const description = validateDescription(value);
  const { name } = description;
  const bootId = await system.host.bootId();
  return change(system, 'domain autostart', async (tx) => {
    const before = (await tx.writer.intents()).find(({ kind, key }) => kind === 'autostart' && key === name);
    const changed = JSON.stringify(before?.value) !== JSON.stringify({ description });
    if (changed) {
      await tx.writer.putIntent({ kind: 'autostart', key: name, bootId, problem: null, value: { description } });
      await tx.event('domain.autostart', name, { on: true });
    }
    return { name, autostart: true, changed };
  });
}

/** `changed: false` when it does not start by itself anyway. */
export async function stopAutostart(system: CatalogSystem, name: string): Promise<AutostartInfo & Changed> {
  return change(system, 'domain autostart', async (tx) => {
    const changed = (await tx.writer.intents()).some(({ kind, key }) => kind === 'autostart' && key === name);
    if (changed) {
      await tx.writer.removeIntent('autostart', name);
      await tx.event('domain.autostart', name, { on: false });
    }
    return { name, autostart: false, changed };
  });
}
