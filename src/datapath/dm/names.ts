// What a VBD's device-mapper device is called. Its UUID is the catalog's and the generation, so that no catalog reaps what is
// another's; its name, for people, is the VBD's, with enough of the catalog to be the only one on the host.

import { invariant } from '../../base/invariant.ts';
import type { Generation, VbdPlan } from '../../core/types.ts';

export const uuidPrefix = (catalogId: string): string => `XVD-${catalogId}-`;
export const uuidOf = (catalogId: string, generation: Generation): string => `${uuidPrefix(catalogId)}${generation}`;

/** null: it is not of that catalog. */
export function generationOf(uuid: string, catalogId: string): Generation | null {
  const prefix = uuidPrefix(catalogId);
  const rest = uuid.slice(prefix.length);
  return uuid.startsWith(prefix) && /^[1-9]\d{0,15}$/.test(rest) ? Number(rest) : null;
}

/** As much as the kernel takes, without its zero (DM_NAME_LEN). */
const NAME_BYTES = 127;

/** `xvd-web01-xvda@17.1a2b3c4d`: every character is one that device-mapper takes as it is. Guests of others can have longer names than
 *  fit: they are cut, and what makes the name the only one stays. */
export function nameOf({ exportName }: Pick<VbdPlan, 'exportName'>, catalogId: string): string {
  const taken = exportName.replaceAll(/[^A-Za-z0-9._@-]/g, '-');
  const at = taken.lastIndexOf('@');
  invariant(at > 0, 'an export is named DOMAIN/TARGET@GENERATION');
  const head = `xvd-${taken.slice(0, at)}`;
  const tail = `${taken.slice(at)}.${catalogId.slice(0, 8)}`;
  return `${head.slice(0, NAME_BYTES - tail.length)}${tail}`;
}

/** Whether a name in /dev/mapper is that of the generation, whatever its domain and target were. */
export const isNameOf = (name: string, generation: Generation, catalogId: string): boolean =>
  name.startsWith('xvd-') && name.endsWith(`@${generation}.${catalogId.slice(0, 8)}`);

/** Of a node in /dev/mapper; null: it is not of that catalog. */
export function generationOfNode(path: string, catalogId: string): Generation | null {
  const [, generation] = /^\/dev\/mapper\/xvd-[^/]*@([1-9]\d{0,15})\.[0-9a-f]{8}$/.exec(path) ?? [];
  return generation !== undefined && path.endsWith(`.${catalogId.slice(0, 8)}`) ? Number(generation) : null;
}
