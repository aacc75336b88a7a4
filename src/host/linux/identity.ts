// What a device is known by, strongest first (shared semantics, Devices). A loop device has nothing of its own: the same
// file may get another number at the next boot, and another file this one.

import { sectors } from '../../base/units.ts';
import type { DeviceIdentity } from '../../core/types.ts';
import type { BlockNode } from './sys-block.ts';

export function identityOfBlock(node: BlockNode): DeviceIdentity {
  if (node.dm !== null && node.dm.uuid !== '') return { kind: 'dm', uuid: node.dm.uuid };
  if (node.name.startsWith('loop') || node.name.startsWith('ram') || node.name.startsWith('zram') || node.name.startsWith('nbd'))
    return { kind: 'path', path: node.path };
  const startSector = sectors(node.partition?.startSector ?? 0);
  if (node.wwn !== null) return { kind: 'wwn', value: node.wwn, startSector };
  if (node.serial !== null) return { kind: 'serial', value: node.serial, startSector };
  if (node.partition !== null && node.partition.partUuid !== null) return { kind: 'partition', partUuid: node.partition.partUuid, startSector };
  return { kind: 'path', path: node.path };
}

export const sameIdentity = (one: DeviceIdentity, other: DeviceIdentity): boolean => identityText(one) === identityText(other);

export function identityText(identity: DeviceIdentity): string {
  switch (identity.kind) {
    case 'label':
      return `label ${identity.deviceUuid}`;
    case 'wwn':
    case 'serial':
      return `${identity.kind} ${identity.value} at sector ${identity.startSector}`;
    case 'partition':
      return `partition ${identity.partUuid} at sector ${identity.startSector}`;
    case 'dm':
      return `device-mapper UUID ${identity.uuid}`;
    case 'file':
      return `file ${identity.inode} of filesystem ${identity.filesystem}`;
    case 'path':
      return `path ${identity.path}`;
  }
}
