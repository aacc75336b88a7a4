// What is promised for after a reboot, and when it is due.

import type { DeviceIdentity, Intent, Vbd } from '../core/types.ts';
import type { Change } from './change.ts';
import type { CatalogSystem } from './system.ts';

export type AttachIntent = Extract<Intent, { kind: 'attach' }>;

export const attachKey = ({ domain, vdev }: Pick<Vbd, 'domain' | 'vdev'>): string => `${domain} ${vdev}`;

export const attachIntent = (vbd: Vbd, identity: DeviceIdentity | null): AttachIntent => ({
  kind: 'attach',
  key: attachKey(vbd),
  bootId: vbd.bootId,
  problem: null,
  value: { vbd, identity },
});

/** Of a physical device, so that it is found again under another name; a disk is found by its ID, and its devices by theirs. */
export async function identityOf(system: CatalogSystem, { persist, source }: Vbd): Promise<DeviceIdentity | null> {
  return persist && source.kind === 'phy' ? (await system.host.inspect(source.path)).identity : null;
}

/** In another boot than that in which it was dealt with, and again as long as it could not be done. */
export const isDue = (intent: Intent, bootId: string): boolean => intent.bootId !== bootId || intent.problem !== null;

/** What could not be done is told, shown by check, and tried again at the next start of the daemon. */
export const cannot = (tx: Change, intent: Intent, bootId: string, problem: string): Promise<void> => settle(tx, intent, { bootId, problem });

export const done = (tx: Change, intent: Intent, bootId: string): Promise<void> => settle(tx, intent, { bootId, problem: null });

/** It may have been given up meanwhile. */
async function settle(tx: Change, intent: Intent, how: { readonly bootId: string; readonly problem: string | null }): Promise<void> {
  const still = (await tx.writer.intents()).find(({ kind, key }) => kind === intent.kind && key === intent.key);
  if (still !== undefined) await tx.writer.putIntent({ ...still, ...how });
}
