// Makes a device by asking the kernel itself, as libdevmapper does, where udev makes its node: starting dmsetup costs an attach more
// than all else that it does. Killed in between, it leaves what a killed dmsetup leaves.

import { closeSync, constants, openSync } from 'node:fs';
import { XvdError } from '../../base/error.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { dmCommands, encodeDmRequest, udevWasTold } from './dm-request.ts';
import type { DmRequest } from './dm-request.ts';
import type { NewDevice } from './dmsetup.ts';
import { reasonOf } from './reason-of.ts';
import { openCookie } from './udev-cookie.ts';

const controlNode = '/dev/mapper/control';
const EBUSY = 16;

/** Made, loaded and live, and udev's rules are done with it. `whenLive`: done while they are at work, and if it fails all of this has failed.
 *  PROGRAM_FAILED with the kernel's reason: then there is none. */
export async function createByKernel(syscalls: Syscalls, { name, uuid, readOnly, table }: NewDevice, whenLive: () => Promise<void>): Promise<void> {
  const control = openControl();
  try {
    // Not here, as the kernel may wait: for a device that it opens, or for all who look at a table.
    const ask = async (step: keyof typeof dmCommands, request: Omit<DmRequest, 'name'>): Promise<Buffer> => {
      const bytes = encodeDmRequest({ name, ...request });
      const result = await syscalls.inBackground.ioctlBytes(control, dmCommands[step], bytes);
      if (result < 0)
        throw new XvdError('PROGRAM_FAILED', `device-mapper: ${step} ${name}: ${reasonOf(result)}`, {
          fix: 'See the kernel log.',
          details: { step, status: -result },
        });
      return bytes;
    };
    await ask('create', { uuid });
    try {
      await ask('load', { table, readOnly });
      using cookie = openCookie(syscalls);
      const told = udevWasTold(await ask('resume', { readOnly, cookie: cookie.event }));
      const [done] = await Promise.allSettled([whenLive()]);
      // First: while udev is at work it may have the device open, and then it could not be removed.
      if (told) await cookie.done(name);
      if (done.status === 'rejected') throw done.reason;
    } catch (error) {
      // Without a cookie: udev takes the node away all the same, and nobody waits for that.
      await ask('remove', {}).catch(() => undefined);
      throw error;
    }
  } finally {
    closeSync(control);
  }
}

function openControl(): number {
  try {
    return openSync(controlNode, constants.O_RDWR);
  } catch (error) {
    throw new XvdError('PROGRAM_FAILED', `the kernel's device-mapper can't be opened: ${(error as Error).message}`, { cause: error, fix: 'Load dm-mod.' });
  }
}

/** The kernel opens the devices of a table when it loads it: somebody else keeps one. By dmsetup only its words say so. */
export function isKeptByOthers({ details: { step, status, stderr } }: XvdError): boolean {
  if (step === 'load') return status === EBUSY;
  return typeof stderr === 'string' && /reload ioctl .*failed: Device or resource busy$/m.test(stderr);
}
