// Two devices with one identity: a cloned disk, a serial number that its maker gave twice, or two paths to one device that
// nothing has joined. Nobody can tell by the identity which of them is meant.

import { identityOfBlock, sameIdentity } from './identity.ts';
import { allBlockNumbers, isEmpty, readBlockNode } from './sys-block.ts';
import type { BlockNode, SysRoots } from './sys-block.ts';

/** The others that bear it. The paths that a multipath device has joined are one device. */
export function twinsOf(roots: SysRoots, node: BlockNode): readonly BlockNode[] {
  const identity = identityOfBlock(node);
  // A path is of one device, and the kernel lets no two device-mapper devices have one UUID.
  if (identity.kind === 'path' || identity.kind === 'dm') return [];
  const joined = joinedBy(roots, node);
  return allBlockNumbers(roots).flatMap((number) => {
    const other = number === node.number || isEmpty(roots, number) ? null : readBlockNode(roots, number);
    if (other === null || isPartOf(other, node) || isPartOf(node, other) || !sameIdentity(identity, identityOfBlock(other))) return [];
    const others = joinedBy(roots, other);
    return joined.some((holder) => others.includes(holder)) ? [] : [other];
  });
}

/** A drive and its partition at sector 0. */
const isPartOf = (node: BlockNode, drive: BlockNode): boolean => node.partition?.drive === drive.number;

/** Multipath devices that stand on it; of a partition on its drive, whatever else stands on both. */
function joinedBy(roots: SysRoots, node: BlockNode): readonly string[] {
  const drive = node.partition === null ? node : readBlockNode(roots, node.partition.drive);
  return (drive?.holders ?? []).filter((holder) => readBlockNode(roots, holder)?.dm?.uuid.startsWith('mpath-') === true);
}
