// Taking a block device away from a guest. With its consent: the backend says that it closes, in xenstore as any toolstack would, and
// the guest's frontend closes too, or refuses; refused, all is put back. By force it is asked all the same, and then xl asks nobody:
// Linux writes a mounted filesystem back when its device vanishes, to a backend that is there no more, and waits for ever.

import { setTimeout as pause } from 'node:timers/promises';
import { XvdError } from '../../base/error.ts';
import type { Programs } from '../../host/programs.ts';
import { failureOf } from './sentences.ts';
import type { Backend } from './xenstore.ts';

/** XenbusState. */
const CONNECTED = '4';
const CLOSING = '5';
const CLOSED = '6';
const LOOK_MS = 100;

/** By force a guest has that long: longer than one that listens needs, and its I/O has ended before. */
const FORCED_MS = 5000;

export type LetGo = { readonly target: string; readonly force: boolean; readonly letGoMs: number };

/** Whether it has let go. VBD_BUSY where it is not forced to. */
export async function letsGo(programs: Programs, backend: Backend, { target, force, letGoMs }: LetGo): Promise<boolean> {
  try {
    await askToClose(programs, backend, target, force ? Math.min(FORCED_MS, letGoMs) : letGoMs);
    return true;
  } catch (error) {
    if (!force) throw error;
    return false;
  }
}

async function askToClose(programs: Programs, backend: Backend, target: string, letGoMs: number): Promise<void> {
  const { path, frontend } = backend;
  // A frontend that never connected has nothing to let go of.
  if (frontend === null || (await read(programs, `${frontend}/state`)) !== CONNECTED) return;
  const errorPath = frontend.replace(/\/device\/vbd\//, '/error/device/vbd/');
  await programs.run('xenstore-write', [`${path}/online`, '0', `${path}/state`, CLOSING]);
  for (const end = performance.now() + letGoMs; performance.now() < end; await pause(LOOK_MS)) {
    const state = await read(programs, `${frontend}/state`);
    if (state === null || state === CLOSED) return;
    if ((await read(programs, `${errorPath}/error`)) !== null) break;
  }
  await programs.run('xenstore-write', [`${path}/online`, '1', `${path}/state`, CONNECTED]).catch(() => undefined);
  throw new XvdError('VBD_BUSY', `the guest does not let go of ${target}`);
}

/** Afterwards xenstore has nothing of it. */
export async function removeDevice(programs: Programs, { domain, vdev, path }: Backend, force: boolean): Promise<void> {
  try {
    await programs.run('xl', ['block-detach', ...(force ? ['--force'] : []), domain, String(vdev)]);
  } catch (error) {
    // The domain, or the device, may have ended meanwhile.
    if ((await read(programs, `${path}/frontend`)) === null) return;
    throw failureOf(`the device ${vdev} of domain ${domain} can't be detached`, saidBy(error));
  }
}

export async function read(programs: Programs, path: string): Promise<string | null> {
  const { status, stdout } = await programs.run('xenstore-read', [path], { okStatus: [0, 1] });
  return status === 0 ? stdout.trim() : null;
}

export function saidBy(error: unknown): string {
  const stderr = error instanceof XvdError ? error.details['stderr'] : null;
  return typeof stderr === 'string' && stderr.trim() !== '' ? stderr : (error as Error).message;
}
