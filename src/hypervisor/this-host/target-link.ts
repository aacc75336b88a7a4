// The name under which a VBD opens on this host: a link `/dev/xvda` to its device. A name that exists and is not ours is
// never touched.

import { lstat, readlink, symlink, unlink } from 'node:fs/promises';
import { XvdError } from '../../base/error.ts';

/** What is at the target: null = nothing, `''` = something that is no link. */
export async function lookAt(target: string): Promise<string | null> {
  const facts = await lstat(target).catch(() => null);
  if (facts === null) return null;
  return facts.isSymbolicLink() ? await readlink(target) : '';
}

export async function makeLink(target: string, linkTo: string): Promise<void> {
  try {
    await symlink(linkTo, target);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'EEXIST' && (await lookAt(target)) === linkTo) return;
    if (code === 'EEXIST') throw taken(target);
    if (code === 'EACCES' || code === 'EPERM') throw new XvdError('NOT_PERMITTED', `${target} can't be made: ${(error as Error).message}`, { cause: error });
    throw new XvdError('HYPERVISOR_FAILED', `${target} can't be made: ${(error as Error).message}`, { cause: error });
  }
}

/** Only if it leads where ours leads. */
export async function removeLink(target: string, linkTo: string | null): Promise<void> {
  if (linkTo !== null && (await lookAt(target)) === linkTo) await unlink(target).catch(() => undefined);
}

export const taken = (target: string): XvdError => new XvdError('TARGET_TAKEN', `${target} exists on this host and is not a VBD of xvd`);
