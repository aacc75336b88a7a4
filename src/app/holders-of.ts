import { checkSharing } from '../core/sharing.ts';
import type { CatalogSystem } from './system.ts';

/** Who on this host uses sectors of a device, in words: `mount /mnt`, `holder /dev/md0`. Processes that only look count too. */
export async function holdersOf({ host }: Pick<CatalogSystem, 'host'>, path: string): Promise<readonly string[]> {
  const { footprint } = await host.inspect(path, { signatures: false });
  const { conflicts } = checkSharing({ kind: 'vbd', name: path, mode: 'w', footprint }, await host.users());
  return [...new Set(conflicts.map(({ user }) => `${user.kind} ${user.name}`))];
}
