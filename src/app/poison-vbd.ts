// A write-back of a VBD failed: what its guest holds for written may not be. Its disk is suspect from here on (I5).

import type { Generation } from '../core/types.ts';
import { change } from './change.ts';
import type { CatalogSystem } from './system.ts';
import { exportNameOf } from './vbd-plan.ts';

/** Told again (a daemon that starts finds the poison of its forerunner), it changes nothing. */
export function poisonVbd(system: CatalogSystem, generation: Generation, reason: string): Promise<void> {
  return change(system, 'write-back failed', async (tx) => {
    const vbd = await tx.writer.vbd(generation);
    if (vbd === null || vbd.state === 'detached') return;
    if (vbd.source.kind === 'vd') {
      const disk = await tx.writer.disk(vbd.source.diskId);
      if (disk === null || disk.suspect) return;
      await tx.writer.updateDisk({ ...disk, suspect: true });
    }
    await tx.event('vbd.poisoned', exportNameOf(vbd), { reason });
  });
}
