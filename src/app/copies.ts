// The image copies that this daemon runs: how far each is, and how it is stopped.

import { XvdError } from '../base/error.ts';
import type { DiskId } from '../core/types.ts';
import type { CopyProgress } from './shapes.ts';
import type { System } from './system.ts';

export type RunningCopy = {
  readonly diskId: DiskId;
  readonly progress: CopyProgress;
  /** It ends with that error, between two writes. */
  readonly stop: (reason: XvdError) => void;
  /** Settled when it is fenced. */
  readonly ended: Promise<void>;
};

/** By the number of the worker. */
export type Copies = Map<number, RunningCopy>;

export const copiesUnderWay = (system: System): CopyProgress[] => [...(system.copies?.values() ?? [])].map(({ progress }) => progress);

export function stopCopies(system: System, reason: XvdError, which: (copy: RunningCopy) => boolean = () => true): Promise<unknown> {
  const stopped = [...(system.copies?.values() ?? [])].filter(which);
  for (const copy of stopped) copy.stop(reason);
  return Promise.all(stopped.map(({ ended }) => ended));
}

export const daemonEnds = (): XvdError => new XvdError('COPY_STOPPED', 'the daemon ended');
