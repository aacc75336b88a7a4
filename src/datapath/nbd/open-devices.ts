// Descriptors of a VBD's devices: one open file each from attach to detach, since the kernel tells a failed write-back
// once per open file, and one more as its witness (flush-vbd.ts). A later daemon takes the same open files over from a process
// that has them.

import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { XvdError } from '../../base/error.ts';
import type { PlanDevice, VbdPlan } from '../../core/types.ts';
import type { Syscalls } from '../../host/syscalls.ts';
import { FIRST_DEVICE_FD } from './spare-descriptors.ts';

export type VerifyDevice = (device: PlanDevice, fd: number) => Promise<void>;

function closeAll(fds: readonly number[]): void {
  for (const fd of fds) if (fd >= 0) closeSync(fd);
}

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
    closeAll(fds);
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

/** Where a connection process has what it is given of a VBD: its devices, its pipe if it has one, its witnesses. */
export function placesOf({ devices, pipe }: Pick<VbdPlan, 'devices' | 'pipe'>): {
  readonly devices: number[];
  readonly witnesses: number[];
  readonly end: number;
} {
  const firstWitness = FIRST_DEVICE_FD + devices.length + (pipe === undefined ? 0 : 1);
  return {
    devices: devices.map((_, index) => FIRST_DEVICE_FD + index),
    witnesses: devices.map((_, index) => firstWitness + index),
    end: firstWitness,
  };
}

/** Another open file of each, by the descriptor: a name may mean something else by now. For reading, as udev looks anew at a device that a writer has closed. */
export function openWitnesses(fds: readonly number[]): number[] {
  const witnesses: number[] = [];
  try {
    for (const fd of fds) witnesses.push(openSync(`/proc/self/fd/${fd}`, constants.O_RDONLY));
    return witnesses;
  } catch (error) {
    closeAll(witnesses);
    throw new XvdError('DEVICE_FAILED', `a device can't be opened once more (${(error as NodeJS.ErrnoException).code})`, { cause: error });
  }
}

/** Whether these are witnesses of those: a process of an earlier version has none, and something else of its own in their places. */
export function areWitnesses(witnesses: readonly number[], fds: readonly number[]): boolean {
  return fds.every((fd, index) => {
    try {
      const [device, witness] = [fstatSync(fd), fstatSync(witnesses[index] ?? -1)];
      return device.dev === witness.dev && device.ino === witness.ino && device.rdev === witness.rdev;
    } catch {
      return false;
    }
  });
}

/** No witnesses: to be opened, for a VBD that is written to. */
export type TakenDevices = { readonly devices: readonly number[]; readonly witnesses: readonly number[] };

/** A spare that has been put on record and is not told yet has nothing (/dev/null) in their places. */
const isNone = (fd: number): boolean => fd < 0 || fstatSync(fd).isCharacterDevice();

/** The open files of a connection process of an earlier daemon; null when they can't be had. */
export function takeDevices(plan: VbdPlan, pid: number, syscalls: Syscalls | null): TakenDevices | null {
  if (syscalls === null) return null;
  const pidfd = syscalls.pidfdOpen(pid);
  if (pidfd < 0) return null;
  try {
    const places = placesOf(plan);
    const take = (place: number): number => syscalls.pidfdGetfd(pidfd, place);
    const devices = places.devices.map(take);
    if (devices.some(isNone)) {
      closeAll(devices);
      return null;
    }
    const witnesses = places.witnesses.map(take);
    if (areWitnesses(witnesses, devices)) return { devices, witnesses };
    closeAll(witnesses);
    return { devices, witnesses: [] };
  } finally {
    closeSync(pidfd);
  }
}
