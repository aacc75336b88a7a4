// Makes a device by asking the kernel itself, as libdevmapper does, where udev makes its node: starting dmsetup costs an attach more
// than all else that it does. The event of a device that has become live bears a cookie; udev's rules, when they are done with it, count
// down the semaphore of that number (`dmsetup udevcomplete`). Killed in between, it leaves what a killed dmsetup leaves.

import { randomInt } from 'node:crypto';
import { closeSync, constants, openSync } from 'node:fs';
import { getSystemErrorMap } from 'node:util';
import { XvdError } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import type { Semaphores } from '../../host/semaphore-calls.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { dmCommands, encodeDmRequest, udevWasTold } from './dm-request.ts';
import type { DmRequest } from './dm-request.ts';
import type { NewDevice } from './dmsetup.ts';

type Calls = { readonly syscalls: Syscalls; readonly semaphores: Semaphores };
type Cookie = Disposable & { readonly id: number; readonly event: number };

const controlNode = '/dev/mapper/control';
/** The upper half of a semaphore's key, by which udev's rules find it (libdevmapper.h: DM_COOKIE_MAGIC). */
const COOKIE_MAGIC = 0x0d4d;
/** In the upper half of what the event bears: it comes from who made the device, so the rules act on it (DM_UDEV_PRIMARY_SOURCE_FLAG). */
const PRIMARY_SOURCE = 0x0040;
const EEXIST = 17;

/** Made, loaded and live, and udev's rules are done with it. PROGRAM_FAILED with the kernel's reason: then there is none. */
export async function createByKernel({ syscalls, semaphores }: Calls, { name, uuid, readOnly, table }: NewDevice): Promise<void> {
  const control = openSync(controlNode, constants.O_RDWR);
  try {
    const ask = (step: keyof typeof dmCommands, request: Omit<DmRequest, 'name'>): Buffer => {
      const bytes = encodeDmRequest({ name, ...request });
      const result = syscalls.ioctlBytes(control, dmCommands[step], bytes);
      if (result < 0) throw new XvdError('PROGRAM_FAILED', `device-mapper: ${step} ${name}: ${reasonOf(result)}`, { details: { status: -result } });
      return bytes;
    };
    ask('create', { uuid });
    try {
      ask('load', { table, readOnly });
      using cookie = openCookie(semaphores);
      if (udevWasTold(ask('resume', { readOnly, cookie: cookie.event }))) await rulesAreDone(semaphores, cookie, name);
    } catch (error) {
      syscalls.ioctlBytes(control, dmCommands.remove, encodeDmRequest({ name }));
      throw error;
    }
  } finally {
    closeSync(control);
  }
}

function openCookie(semaphores: Semaphores): Cookie {
  for (;;) {
    const low = randomInt(1, 0x1_0000);
    const id = semaphores.create(COOKIE_MAGIC * 0x1_0000 + low, 1);
    if (id >= 0) return { id, event: PRIMARY_SOURCE * 0x1_0000 + low, [Symbol.dispose]: () => void semaphores.remove(id) };
    if (id !== -EEXIST)
      throw new XvdError('PROGRAM_FAILED', `no semaphore for udev: ${reasonOf(id)}`, { fix: '`dmsetup udevcomplete_all` removes what is left over.' });
  }
}

async function rulesAreDone(semaphores: Semaphores, { id }: Cookie, name: string): Promise<void> {
  const result = await semaphores.zero(id, limits.programMs);
  if (result < 0) throw new XvdError('PROGRAM_FAILED', `udev was not done with ${name} after ${limits.programMs} ms: ${reasonOf(result)}`);
}

const reasonOf = (result: number): string => getSystemErrorMap().get(result)?.[1] ?? `error ${-result}`;
