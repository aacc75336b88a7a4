// Work on a device that may hang. It is waited for as long as it gets on, however slow; what does not is left to itself, as no
// call in the kernel can be taken back, and is waited for by the next work on that device: each tries no more than the one before.

import { XvdError } from '../../base/error.ts';

/** What was left to itself and has not ended, by the path of its device. */
const left = new Map<string, Promise<unknown>>();

/** FENCE_UNPROVED when the work has not called `gotOn` for so long; that throws then, so that what comes back late does no more. */
export async function untilItStalls(path: string, stallMs: number, work: (gotOn: () => void) => Promise<void>): Promise<void> {
  const stalled = Promise.withResolvers<never>();
  const error = new XvdError('FENCE_UNPROVED', `${path} has not answered for ${stallMs} ms: it may hang`);
  let gaveUp = false;
  const timer = setTimeout(() => {
    gaveUp = true;
    stalled.reject(error);
  }, stallMs);
  const gotOn = (): void => {
    if (gaveUp) throw error;
    timer.refresh();
  };
  let running: Promise<void> | null = null;
  try {
    await Promise.race([left.get(path), stalled.promise]);
    gotOn();
    running = work(gotOn);
    await Promise.race([running, stalled.promise]);
  } catch (cause) {
    if (running !== null && gaveUp) leave(path, running);
    throw cause;
  } finally {
    clearTimeout(timer);
  }
}

function leave(path: string, running: Promise<void>): void {
  const all = Promise.allSettled([left.get(path), running]).then(() => {
    if (left.get(path) === all) left.delete(path);
  });
  left.set(path, all);
}
