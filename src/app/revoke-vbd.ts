import type { Generation } from '../core/types.ts';
import { endVbd, setState } from './end-vbd.ts';
import type { System } from './system.ts';

/** Ends a VBD whether its domain lets go or not: lease over, disk deleted by force. Nothing to do when it has ended already. */
export async function revokeVbd(system: System, generation: Generation, cause: string): Promise<void> {
  const vbd = await system.catalog.read((reader) => reader.vbd(generation));
  if (vbd === null) return;
  await system.queue(`domain:${vbd.domain}`, async () => {
    const now = await system.catalog.read((reader) => reader.vbd(generation));
    if (now === null || now.state === 'detached') return;
    await setState(system, now, 'revoked', cause);
    await endVbd(system, now, { force: true, cause, forget: true });
  });
}
