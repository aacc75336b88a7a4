// Whether a device is in the pool already, or shares sectors with what is: by identity and range, never by name (F19).

import { XvdError } from '../base/error.ts';
import { bytes } from '../base/units.ts';
import { decodeLabel, LABEL_HEADER_BYTES } from '../core/label.ts';
import { checkSharing } from '../core/sharing.ts';
import type { DeviceIdentity, PoolDevice, SectorUser } from '../core/types.ts';
import type { DeviceFacts } from '../host/host.ts';
import { refuseTwins } from './device-safety.ts';
import { inspectIfThere, locateDevice } from './locate-device.ts';
import { planAsIs } from './plan-as-is.ts';
import type { CatalogSystem } from './system.ts';

const sameIdentity = (one: DeviceIdentity, other: DeviceIdentity): boolean => JSON.stringify(one) === JSON.stringify(other);

/** Of which pool device this is. DEVICE_IDENTITY_MISMATCH when it bears the identity of one, and may be another. */
export async function findInPool(system: CatalogSystem, facts: DeviceFacts, devices: readonly PoolDevice[], catalogId: string): Promise<PoolDevice | null> {
  const byIdentity = devices.find(
    (device) => device.kind === facts.kind && device.sizeBytes === facts.sizeBytes && sameIdentity(device.identity, facts.identity),
  );
  if (byIdentity !== undefined) {
    await refuseClone(system, facts, byIdentity);
    return byIdentity;
  }
  const labelled = devices.filter((device) => device.identity.kind === 'label');
  if (labelled.length === 0 || facts.sizeBytes < LABEL_HEADER_BYTES) return null;
  const label = decodeLabel(await system.host.readBytes(planAsIs(facts), { offsetBytes: bytes(0), lengthBytes: bytes(LABEL_HEADER_BYTES) }));
  if (label === null || label.catalogId !== catalogId) return null;
  const found = labelled.find((device) => device.uuid === label.deviceUuid && device.sizeBytes === facts.sizeBytes) ?? null;
  if (found === null || found.path === facts.path) return found;
  // The same label under another path: the device was moved, or this is a drive around it (or a copy): ranges decide.
  const there = await inspectIfThere(system, found.path);
  return there === null || overlaps(facts, there) ? found : null;
}

/** One that is where the pool's device was, or shares its sectors, is that device; one of the same identity beside it is not. */
async function refuseClone(system: CatalogSystem, facts: DeviceFacts, found: PoolDevice): Promise<void> {
  if (facts.path === found.path) return;
  const there = await inspectIfThere(system, found.path);
  if (there !== null && overlaps(facts, there)) return;
  const clone = there !== null && sameIdentity(there.identity, facts.identity) ? [there.path] : [];
  refuseTwins({ ...facts, twins: [...new Set([...clone, ...facts.twins])] });
}

/** The pool's devices as users of sectors. One that is not there now has no node that could be opened, so it is nobody's neighbour. */
export async function poolUsers(system: CatalogSystem, devices: readonly PoolDevice[]): Promise<SectorUser[]> {
  const users: SectorUser[] = [];
  for (const device of devices) {
    const { facts } = await locateDevice(system, device);
    if (facts !== null) users.push({ kind: 'pool', name: device.path, mode: 'w', footprint: facts.footprint });
  }
  return users;
}

/** A part of a pool device, or around one, and any VBD's own device: refused whatever the force. */
export async function refuseOverlap(system: CatalogSystem, facts: DeviceFacts, devices: readonly PoolDevice[], newUse: 'pool' | 'phy'): Promise<void> {
  const vbdUsers: SectorUser[] = [];
  for (const { devicePath, source } of await system.catalog.read((reader) => reader.vbds())) {
    // Its own node, and what it is made of; a new VBD beside it on the same sectors is for the sharing check to judge.
    for (const path of [devicePath, newUse === 'pool' && source.kind === 'phy' ? source.path : null]) {
      const there = path === null ? null : await inspectIfThere(system, path);
      if (there === null) continue;
      const own = newUse === 'phy' ? there.footprint.own.slice(0, 1) : there.footprint.own;
      vbdUsers.push({ kind: 'vbd', name: there.path, mode: 'w', footprint: { ...there.footprint, own } });
    }
  }
  const use: SectorUser = { kind: 'pool', name: facts.path, mode: 'w', footprint: facts.footprint };
  const known =
    newUse === 'pool' ? devices.find((device) => device.path === facts.path && device.kind === facts.kind && device.sizeBytes !== facts.sizeBytes) : undefined;
  if (known !== undefined)
    throw new XvdError('DEVICE_IDENTITY_MISMATCH', `${facts.path} is in the pool with ${known.sizeBytes} bytes, and has ${facts.sizeBytes} now`, {
      fix: 'Give it the size back that it had, or bind what it is now with `xvd adopt DEVICE`.',
    });
  const { conflicts } = checkSharing(use, [...(await poolUsers(system, devices)), ...vbdUsers]);
  const [first] = conflicts;
  if (first !== undefined) {
    const what = first.user.kind === 'pool' ? 'device of the pool' : 'device of a VBD';
    throw new XvdError('DEVICE_OVERLAPS_POOL', `${facts.path} shares sectors with ${first.user.name}, a ${what}`, {
      details: {
        level: 2,
        conflicts: conflicts.map(({ user, range }) => ({
          user: user.kind,
          name: user.name,
          mode: user.mode,
          device: facts.drivePath,
          startSector: range.startSector,
          sectors: range.sectors,
        })),
      },
    });
  }
}

const overlaps = (one: DeviceFacts, other: DeviceFacts): boolean =>
  checkSharing({ kind: 'pool', name: one.path, mode: 'w', footprint: one.footprint }, [
    { kind: 'pool', name: other.path, mode: 'w', footprint: other.footprint },
  ]).level > 0;
