// What each command of 2004 does, in its own words.

import { XvdError } from '../../base/error.ts';
import type { VbdInfo } from '../../app/shapes.ts';
import { readDescription } from '../read-description.ts';
import { oldBytes, oldNumber } from './old-command.ts';
import type { Old, OldCommand } from './old-command.ts';

const DEFAULT_EXTENT_MB = '64';

/** 0 = never, in the old commands alone. */
function expiry({ out }: Old, text: string | undefined): { seconds: number; expiresInMs: number | null } {
  if (text === undefined) out('No expiry time specified - using default');
  const seconds = text === undefined ? 0 : oldNumber(text, 'the expiry time', 0);
  return { seconds, expiresInMs: seconds === 0 ? null : seconds * 1000 };
}

async function format(old: Old): Promise<boolean> {
  const { xvd, args, force, out, err } = old;
  const [device = '', size] = args;
  if (size === undefined) {
    out('No extent size specified - using default size');
    out('(for really small devices, the default size of 64MB might not work)');
  }
  const extentBytes = oldBytes(size ?? DEFAULT_EXTENT_MB, 'the extent size');
  const path = device.startsWith('/') ? device : `/dev/${device}`;
  out('Formatting for virtual disks');
  out(`Device: ${path}`);
  out(`Extent size: ${size ?? DEFAULT_EXTENT_MB}MB`);
  try {
    await xvd.formatDevice({ device: path, extentBytes, label: false, force });
    return true;
  } catch (error) {
    err('An error occurred formatting the device');
    throw error;
  }
}

async function create(old: Old): Promise<boolean> {
  const { xvd, args, out, err } = old;
  const [size = '', time] = args;
  const sizeBytes = oldBytes(size, 'the size');
  const { seconds, expiresInMs } = expiry(old, time);
  out('Creating a virtual disk');
  out(`Size: ${size}`);
  out(`Expiry time (seconds from now): ${seconds}`);
  try {
    const disk = await xvd.createDisk({ sizeBytes, expiresInMs });
    out(`Virtual disk allocated, with ID: ${disk.id}`);
    return true;
  } catch (error) {
    err('An error occurred creating the the disk');
    throw error;
  }
}

async function refresh(old: Old): Promise<boolean> {
  const { xvd, args, out } = old;
  const [id = '', time] = args;
  const { seconds, expiresInMs } = expiry(old, time);
  out('Refreshing a virtual disk');
  out(`Id: ${id}`);
  out(`Expiry time (seconds from now): ${seconds}`);
  await xvd.refreshDisk({ disk: id, expiresInMs });
  return true;
}

async function remove({ xvd, args, force, out }: Old): Promise<boolean> {
  const [id = ''] = args;
  out(`Deleting a virtual disk with ID: ${id}`);
  await xvd.deleteDisk({ disk: id, force });
  return true;
}

const sharingWarnings = {
  1: 'Warning: one or more hard disk extents\nwriteable by one domain are also readable by another.',
  2: 'Warning: one or more hard disk extents are\nwriteable by two or more domains simultaneously.',
} as const;

function tellSharing({ err }: Old, level: unknown): void {
  if (level === 1 || level === 2) err(sharingWarnings[level].replace('\n', ' '));
}

async function attach(old: Old): Promise<boolean> {
  const { xvd, settings, args, out } = old;
  const [source = '', target = '', domain = '', mode = 'r'] = args;
  if (!['r', 'w', 'rw'].includes(mode)) throw new XvdError('VALUE_INVALID', `the mode is r or rw, not '${mode}'`);
  try {
    const vbd = await xvd.attach({ source, target, domain, mode: mode === 'r' ? 'r' : 'w', expert: settings.expert });
    tellSharing(old, vbd.sharing);
    out(`Added ${source} to domain ${domain} as device ${target}`);
    return true;
  } catch (error) {
    return refusedSharing(old, error, settings.expert);
  }
}

/** In its old words; whatever else failed is thrown on. */
function refusedSharing(old: Old, error: unknown, level: number): false {
  if (!(error instanceof XvdError) || error.code !== 'SHARING_REFUSED') throw error;
  tellSharing(old, error.details['level']);
  old.err(`ERROR: This kind of disk sharing is not allowed at the current safety level (${level}).`);
  old.out('That mapping is too unsafe for the current VBD expertise level');
  return false;
}

async function detach({ xvd, args, force, out, err }: Old): Promise<boolean> {
  const [target = '', domain = ''] = args;
  try {
    await xvd.detach({ target, domain, force });
    out(`Removed ${target} from domain ${domain}`);
    return true;
  } catch (error) {
    out('Failed');
    if (error instanceof XvdError) err(`${error.message}\n  ${error.fix}`);
    return false;
  }
}

const domainOf = ({ domain }: VbdInfo): string => (/^\d+$/.test(domain) ? domain : `'${domain}'`);

async function list({ xvd, out }: Old): Promise<boolean> {
  const rows = (await xvd.vbds()).map((vbd) => `{'dom': ${domainOf(vbd)}, 'vbd': ${vbd.vdev}, 'writeable': ${vbd.mode === 'w' ? 1 : 0}}`);
  out(`[${rows.join(', ')}]`);
  return true;
}

async function startDomain(old: Old): Promise<boolean> {
  const { xvd, settings, args, out } = old;
  const description = await readDescription(args[0] ?? '');
  const expert = description.expert ?? settings.expert;
  try {
    const domain = await xvd.startDomain(description, { expert });
    tellSharing(old, Math.max(0, ...domain.vbds.map(({ sharing }) => sharing)));
    for (const vbd of domain.vbds) out(`Added ${vbd.source} to domain ${vbd.domain} as device ${vbd.target}`);
    return true;
  } catch (error) {
    return refusedSharing(old, error, expert);
  }
}

export const commandsOfOld: Readonly<Record<string, OldCommand>> = {
  vd_format: { usage: 'device [extent_size_mb]', arguments: [1, 2], makesDatabase: true, run: format },
  vd_create: { usage: 'size_mb [expiry_s]', arguments: [1, 2], run: create },
  vd_refresh: { usage: 'id [expiry_s]', arguments: [1, 2], run: refresh },
  vd_delete: { usage: 'id', arguments: [1, 1], run: remove },
  add_vbd_to_dom: { usage: 'uname target-dev target-dom [r|rw]', arguments: [3, 4], run: attach },
  remove_vbd_from_dom: { usage: 'target-dev target-dom', arguments: [2, 2], run: detach },
  list_vbds: { usage: '', arguments: [0, 0], run: list },
  createlinuxdom: { usage: 'FILE', arguments: [1, 1], run: startDomain },
};
