// Opens a device of the catalog and makes sure that it is the one: its identity and size are checked on the open
// descriptor, so that nothing can be changed in between.

import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { XvdError } from '../../base/error.ts';
import { SECTOR_BYTES } from '../../base/units.ts';
import { deviceNumber } from '../../core/device-number.ts';
import { decodeLabel, LABEL_HEADER_BYTES } from '../../core/label.ts';
import type { DeviceIdentity, PlanDevice } from '../../core/types.ts';
import { identityOfBlock, identityText, sameIdentity } from './identity.ts';
import { asXvdError, identityOfFile } from './inspect.ts';
import { alignedBuffer } from './kernel-calls.ts';
import { readBlockNode } from './sys-block.ts';
import type { BlockNode, SysRoots } from './sys-block.ts';
import { twinsOf } from './twins.ts';

export type OpenDevice = { readonly handle: FileHandle; readonly direct: boolean; readonly number: string | null; readonly blockBytes: number };

/** Direct I/O where the filesystem has it. `flags`: of open(2). `at`: where to open it, when not by its own path. */
export async function withDevice<T>(
  roots: SysRoots,
  device: PlanDevice,
  flags: number,
  body: (opened: OpenDevice) => Promise<T>,
  at = device.path,
): Promise<T> {
  const { handle, direct } = await openNode(at, flags | constants.O_NONBLOCK);
  try {
    const { number, blockBytes } = await check(roots, device, handle);
    return await body({ handle, direct, number, blockBytes });
  } catch (error) {
    if (error instanceof Error && 'syscall' in error) throw asXvdError(error as NodeJS.ErrnoException, device.path);
    throw error;
  } finally {
    await handle.close();
  }
}

async function openNode(path: string, flags: number): Promise<{ handle: FileHandle; direct: boolean }> {
  try {
    return { handle: await open(path, flags), direct: (flags & constants.O_DIRECT) !== 0 };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EINVAL' || (flags & constants.O_DIRECT) === 0) throw asXvdError(error as NodeJS.ErrnoException, path);
    return openNode(path, flags & ~constants.O_DIRECT);
  }
}

async function check(roots: SysRoots, device: PlanDevice, handle: FileHandle): Promise<{ number: string | null; blockBytes: number }> {
  const facts = await handle.stat();
  if (facts.isFile() !== (device.kind === 'file') || facts.isBlockDevice() !== (device.kind === 'block'))
    throw new XvdError('DEVICE_IDENTITY_MISMATCH', `${device.path} is no ${device.kind === 'file' ? 'regular file' : 'block device'} any more`);
  const number = facts.isBlockDevice() ? deviceNumber(facts.rdev) : null;
  const node = number === null ? null : readBlockNode(roots, number);
  if (number !== null && node === null)
    throw new XvdError('DEVICE_NOT_FOUND', `${device.path} is a node of a device that the kernel does not have (${number})`);
  const sizeBytes = node === null ? facts.size : node.sizeSectors * SECTOR_BYTES;
  if (sizeBytes !== device.sizeBytes)
    throw new XvdError('DEVICE_IDENTITY_MISMATCH', `${device.path} has ${sizeBytes} bytes, the catalog knows it with ${device.sizeBytes}`);
  const found = await identityOf(device, handle, () => (node === null ? identityOfFile(`/proc/self/fd/${handle.fd}`, facts.ino) : identityOfBlock(node)));
  // Known by path and size only: no more can be asked of it than that.
  const same = device.identity.kind === 'path' ? device.identity.path === device.path : sameIdentity(found, device.identity);
  if (!same)
    throw new XvdError('DEVICE_IDENTITY_MISMATCH', `${device.path} is ${identityText(found)}, the catalog knows it as ${identityText(device.identity)}`);
  if (node !== null && device.identity.kind !== 'label' && device.identity.kind !== 'path') refuseTwins(roots, device.path, node);
  return { number, blockBytes: node?.logicalBlockBytes ?? SECTOR_BYTES };
}

async function identityOf(device: PlanDevice, handle: FileHandle, own: () => DeviceIdentity): Promise<DeviceIdentity> {
  if (device.identity.kind !== 'label') return own();
  const header = alignedBuffer(LABEL_HEADER_BYTES);
  await handle.read(header, 0, LABEL_HEADER_BYTES, 0);
  const label = decodeLabel(header);
  return label === null ? own() : { kind: 'label', deviceUuid: label.deviceUuid };
}

/** Two devices with one identity are an error that names both: which of them the catalog means can't be told. */
function refuseTwins(roots: SysRoots, path: string, node: BlockNode): void {
  const [twin] = twinsOf(roots, node);
  if (twin !== undefined)
    throw new XvdError('DEVICE_IDENTITY_MISMATCH', `${path} and ${twin.path} are both ${identityText(identityOfBlock(node))}`, {
      fix: 'Take one of them away, or format the device with a label.',
    });
}
