// Descriptors of a VBD's devices: one open file each from attach to detach, since the kernel tells a failed write-back
// once per open file. A later daemon takes the same open files over from a process that has them.

import { closeSync, constants, openSync } from 'node:fs';
import { XvdError } from '../../base/error.ts';
import type { PlanDevice, VbdPlan } from '../../core/types.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { FIRST_DEVICE_FD } from './spare-descriptors.ts';

export type VerifyDevice = (device: PlanDevice, fd: number) => Promise<void>;

export async function openDevices(plan: VbdPlan, verify: VerifyDevice): Promise<number[]> {
  const fds: number[] = [];
  try {
    for (const device of plan.devices) {
      const fd = openOne(device, plan);
      fds.push(fd);
      await verify(device, fd);
    }
    return fds;
  } catch (error) {
    for (const fd of fds) closeSync(fd);
    throw error;
  }
}

function openOne(device: PlanDevice, plan: VbdPlan): number {
  const access = plan.mode === 'r' ? constants.O_RDONLY : constants.O_RDWR;
  const direct = plan.cache === 'none' ? constants.O_DIRECT : 0;
  try {
    return openSync(device.path, access | direct);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENXIO') throw new XvdError('DEVICE_NOT_FOUND', `${device.path} is not there`, { cause: error });
    if (code === 'EACCES' || code === 'EPERM') throw new XvdError('NOT_PERMITTED', `${device.path} may not be opened`, { cause: error });
    if (code === 'EINVAL' && direct !== 0)
      throw new XvdError('NOT_SUPPORTED', `${device.path} takes no direct I/O`, { fix: 'Use --cache writeback.', cause: error });
    throw new XvdError('DEVICE_FAILED', `${device.path} can't be opened (${code})`, { cause: error });
  }
}

/** The open files of a connection process of an earlier daemon; null when they can't be had. */
export function takeDevices(plan: VbdPlan, pid: number, syscalls: Syscalls | null): number[] | null {
  if (syscalls === null) return null;
  const pidfd = syscalls.pidfdOpen(pid);
  if (pidfd < 0) return null;
  try {
    const fds = plan.devices.map((_, index) => syscalls.pidfdGetfd(pidfd, FIRST_DEVICE_FD + index));
    if (fds.every((fd) => fd >= 0)) return fds;
    for (const fd of fds) if (fd >= 0) closeSync(fd);
    return null;
  } finally {
    closeSync(pidfd);
  }
}
