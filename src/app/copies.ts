// The image copies that this daemon runs: how far each is, and how it is stopped.

import { XvdError } from '../base/error.ts';
import type { CopyProgress } from './shapes.ts';
import type { RunningCopy, System } from './system.ts';

export const copiesUnderWay = (system: System): CopyProgress[] => [...(system.copies?.values() ?? [])].map(({ progress }) => progress);

export function stopCopies(system: System, reason: XvdError, which: (copy: RunningCopy) => boolean = () => true): Promise<unknown> {
  const stopped = [...(system.copies?.values() ?? [])].filter(which);
  for (const copy of stopped) copy.stop(reason);
  return Promise.all(stopped.map(({ ended }) => ended));
}

export const daemonEnds = (): XvdError => new XvdError('COPY_STOPPED', 'the daemon ended');
