// What format refuses, from the facts of the host: always, or unless forced.

import { XvdError } from '../base/error.ts';
import { checkSharing } from '../core/sharing.ts';
import { decodeLabel, LABEL_HEADER_BYTES } from '../core/label.ts';
import { bytes } from '../base/units.ts';
import type { DeviceFacts } from '../host/host.ts';
import { planAsIs } from './plan-as-is.ts';
import type { CatalogSystem } from './system.ts';

export const hostBlockBytes = (facts: DeviceFacts): 512 | 4096 => (facts.logicalBlockBytes > 512 ? 4096 : 512);

/** Whatever the force. */
export function refuseUnusable(facts: DeviceFacts): void {
  if (facts.holdsSystem) throw new XvdError('DEVICE_IS_SYSTEM', `${facts.path} holds the running system`);
  if (facts.readOnly) throw new XvdError('DEVICE_FAILED', `${facts.path} is read-only`, { fix: 'Make it writable, or use another device.' });
  if (facts.logicalBlockBytes > 4096) throw new XvdError('NOT_SUPPORTED', `${facts.path} has blocks of ${facts.logicalBlockBytes} bytes`);
}

/** Whatever the force: of what is known by its identity alone, no use could tell which of the two is meant. */
export function refuseTwins({ path, identity, twins }: Pick<DeviceFacts, 'path' | 'identity' | 'twins'>): void {
  if (twins.length === 0) return;
  const value = 'value' in identity ? ` ${identity.value}` : '';
  throw new XvdError('DEVICE_IDENTITY_MISMATCH', `${[path, ...twins].join(' and ')} have the same identity (${identity.kind}${value})`, {
    fix: 'Take one of them away, or give them labels: `xvd format` without --no-label. Two paths to one device: let multipath join them, and use what it makes.',
  });
}

type Consent = { readonly force: boolean; readonly label: boolean; readonly catalogId: string };

export async function refuseUnsafe(system: CatalogSystem, facts: DeviceFacts, { force, label, catalogId }: Consent): Promise<void> {
  if (!label) refuseTwins(facts);
  if (force) return;
  await refuseUsed(system, facts);
  await refuseForeignLabel(system, facts, catalogId);
  if (facts.signatures.length > 0) throw new XvdError('DEVICE_CARRIES_DATA', `${facts.path} carries ${facts.signatures.join(', ')}`);
  if (facts.copyOnWrite) throw new XvdError('COPY_ON_WRITE', `${facts.path} lies on a copy-on-write filesystem`);
  if (!label && facts.identity.kind === 'path') throw new XvdError('DEVICE_IDENTITY_MISSING', `${facts.path} has no identity of its own`);
}

export async function refuseUsed(system: CatalogSystem, facts: DeviceFacts): Promise<void> {
  const use = { kind: 'pool', name: facts.path, mode: 'w', footprint: facts.footprint } as const;
  const { conflicts } = checkSharing(use, await system.host.users());
  const [first] = conflicts;
  if (first !== undefined) {
    const names = [...new Set(conflicts.map(({ user }) => `${user.kind} ${user.name}`))].join(', ');
    throw new XvdError('DEVICE_IN_USE', `${facts.path} is in use: ${names}`);
  }
}

async function refuseForeignLabel(system: CatalogSystem, facts: DeviceFacts, catalogId: string): Promise<void> {
  if (facts.sizeBytes < LABEL_HEADER_BYTES) return;
  const { path } = facts;
  const found = decodeLabel(await system.host.readBytes(planAsIs(facts), { offsetBytes: bytes(0), lengthBytes: bytes(LABEL_HEADER_BYTES) }));
  if (found === null) return;
  // One that is not in the pool any more left its label behind.
  const twin =
    found.catalogId === catalogId ? (await system.catalog.read((reader) => reader.devices())).find(({ uuid }) => uuid === found.deviceUuid) : undefined;
  if (twin !== undefined)
    throw new XvdError('DEVICE_IDENTITY_MISMATCH', `${path} carries the label of ${twin.path}, which is in pool ${twin.pool}: one is a copy of the other`, {
      fix: 'Bind the copy with `xvd adopt` if it is to take that place, or use --force to make it a device of its own.',
    });
  if (found.catalogId === catalogId) return;
  throw new XvdError('LABEL_FOREIGN', `${path} carries the label of catalog ${found.catalogId} (host ${found.host}, pool ${found.pool})`);
}
