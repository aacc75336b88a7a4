// The block devices under a VBD: opened, proved to be the ones of the plan, and told by their numbers, which is what a
// device-mapper table names. They stay open until the table holds them.

import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { XvdError } from '../../base/error.ts';
import { deviceNumber } from '../../core/device-number.ts';
import type { PlanDevice, VbdPlan } from '../../core/types.ts';

export type VerifyDevice = (device: PlanDevice, fd: number) => Promise<void>;
export type BlockDevices = Disposable & { readonly numbers: readonly string[] };

/** DEVICE_NOT_FOUND, DEVICE_IDENTITY_MISMATCH, NOT_PERMITTED; NOT_SUPPORTED for what device-mapper can't stand on. */
export async function openBlockDevices(plan: VbdPlan, verify: VerifyDevice): Promise<BlockDevices> {
  const fds: number[] = [];
  const close = (): void => {
    for (const fd of fds) closeSync(fd);
  };
  try {
    const numbers: string[] = [];
    for (const device of plan.devices) {
      const fd = openOne(device);
      fds.push(fd);
      await verify(device, fd);
      const facts = fstatSync(fd);
      if (!facts.isBlockDevice())
        throw new XvdError('NOT_SUPPORTED', `${device.path} is no block device: device-mapper can't stand on it`, { fix: nbdInstead });
      numbers.push(deviceNumber(facts.rdev));
    }
    refuseBlockSize(plan, numbers);
    return { numbers, [Symbol.dispose]: close };
  } catch (error) {
    close();
    throw error;
  }
}

const nbdInstead = 'Use --driver auto or nbd.';

function openOne(device: PlanDevice): number {
  try {
    return openSync(device.path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENXIO') throw new XvdError('DEVICE_NOT_FOUND', `${device.path} is not there`, { cause: error });
    if (code === 'EACCES' || code === 'EPERM') throw new XvdError('NOT_PERMITTED', `${device.path} may not be opened`, { cause: error });
    throw new XvdError('DEVICE_FAILED', `${device.path} can't be opened (${code})`, { cause: error });
  }
}

/** A linear target has the largest block size of the devices below it; a disk keeps the one that it was made with. */
function refuseBlockSize({ blockBytes, exportName }: VbdPlan, numbers: readonly string[]): void {
  const found = Math.max(...numbers.map(logicalBlockBytes));
  if (found !== blockBytes)
    throw new XvdError('NOT_SUPPORTED', `${exportName} has blocks of ${blockBytes} bytes, and by device-mapper would have ${found}`, { fix: nbdInstead });
}

function logicalBlockBytes(number: string): number {
  const folder = `/sys/dev/block/${number}`;
  for (const place of [folder, `${folder}/..`]) {
    try {
      return Number(readFileSync(`${place}/queue/logical_block_size`, 'utf8'));
    } catch {
      // a partition has no queue of its own, its drive has
    }
  }
  return 512;
}
