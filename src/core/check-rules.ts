// The rules of `check` over the rows of the catalog (I1): each extent of each device in exactly one place, every living
// disk covered exactly, every VBD of a disk that exists. Pure, so that simulation can ask after every step.

import type { WallMs } from '../base/units.ts';
import { isLiving } from './lease.ts';
import { runEnd } from './run.ts';
import type { DeviceId, Disk, PoolDevice, Run, Vbd } from './types.ts';

export type CheckRows = {
  readonly devices: readonly PoolDevice[];
  readonly owned: readonly (Run & { readonly diskId: number; readonly position: number })[];
  readonly unowned: readonly Run[];
  readonly bad: readonly Run[];
  readonly disks: readonly Disk[];
  readonly vbds: readonly Vbd[];
  readonly now: WallMs;
};

export type Problem = { readonly code: string; readonly message: string };

export function checkCatalog(rows: CheckRows): Problem[] {
  return [...checkDevices(rows), ...checkDisks(rows), ...checkVbds(rows)];
}

type Claim = { readonly run: Run; readonly owner: string };

function checkDevices(rows: CheckRows): Problem[] {
  const claims = new Map<DeviceId, Claim[]>(rows.devices.map((device) => [device.id, []]));
  const problems: Problem[] = [];
  const claim = (run: Run, owner: string): void => {
    const list = claims.get(run.deviceId);
    if (list === undefined)
      problems.push({ code: 'RUN_WITHOUT_DEVICE', message: `${owner} has extents on device ${run.deviceId}, which the catalog does not have` });
    else list.push({ run, owner });
  };
  for (const run of rows.owned) claim(run, `vd:${run.diskId}`);
  for (const run of rows.unowned) claim(run, 'the unowned space');
  for (const run of rows.bad) claim(run, 'the bad space');
  for (const device of rows.devices) problems.push(...checkDevice(device, claims.get(device.id) ?? []));
  return problems;
}

function checkDevice(device: PoolDevice, claims: Claim[]): Problem[] {
  const problems: Problem[] = [];
  let next = 0;
  let before = 'the start';
  for (const { run, owner } of claims.toSorted((a, b) => a.run.firstExtent - b.run.firstExtent)) {
    if (run.count <= 0) {
      problems.push({ code: 'RUN_EMPTY', message: `${owner} has a run of ${run.count} extents on ${device.path}` });
      continue;
    }
    if (run.firstExtent < next)
      problems.push({ code: 'EXTENT_OWNED_TWICE', message: `extent ${run.firstExtent} of ${device.path} belongs to ${before} and to ${owner}` });
    if (run.firstExtent > next) problems.push(lost(device, next, run.firstExtent));
    if (runEnd(run) > device.extentCount)
      problems.push({ code: 'RUN_OUTSIDE_DEVICE', message: `${owner} has extents up to ${runEnd(run)} of ${device.path}, which has ${device.extentCount}` });
    next = Math.max(next, runEnd(run));
    before = owner;
  }
  if (next < device.extentCount) problems.push(lost(device, next, device.extentCount));
  return problems;
}

const lost = (device: PoolDevice, from: number, to: number): Problem => ({
  code: 'EXTENT_LOST',
  message: `extents ${from} to ${to - 1} of ${device.path} are nobody's`,
});

function checkDisks(rows: CheckRows): Problem[] {
  const extentBytes = new Map(rows.devices.map((device) => [device.id, device]));
  const owned = new Map<number, number>();
  const problems: Problem[] = [];
  const disks = new Map(rows.disks.map((disk) => [disk.id, disk]));
  for (const run of rows.owned) {
    const device = extentBytes.get(run.deviceId);
    const disk = disks.get(run.diskId);
    owned.set(run.diskId, (owned.get(run.diskId) ?? 0) + run.count * (device?.extentBytes ?? 0));
    if (disk === undefined) problems.push({ code: 'RUN_WITHOUT_DISK', message: `extents belong to vd:${run.diskId}, which the catalog does not have` });
    else if (device !== undefined && device.pool !== disk.pool)
      problems.push({ code: 'RUN_IN_WRONG_POOL', message: `vd:${disk.id} of pool ${disk.pool} has extents in pool ${device.pool}` });
  }
  for (const disk of rows.disks) {
    const has = owned.get(disk.id) ?? 0;
    const missing = Math.max(0, disk.sizeBytes - has);
    if (isLiving(disk, rows.now) && missing > 0)
      problems.push({ code: 'DISK_INCOMPLETE', message: `vd:${disk.id} lacks ${missing} of its ${disk.sizeBytes} bytes` });
    else if (missing !== disk.lostBytes)
      problems.push({ code: 'LOST_BYTES_WRONG', message: `vd:${disk.id} has lost ${missing} bytes, and the catalog says ${disk.lostBytes}` });
  }
  return problems;
}

function checkVbds(rows: CheckRows): Problem[] {
  const problems: Problem[] = [];
  const disks = new Set(rows.disks.map((disk) => disk.id));
  const targets = new Set<string>();
  for (const vbd of rows.vbds) {
    const name = `${vbd.target} of domain ${vbd.domain}`;
    if (vbd.source.kind === 'vd' && !disks.has(vbd.source.diskId))
      problems.push({ code: 'VBD_WITHOUT_DISK', message: `${name} is of vd:${vbd.source.diskId}, which the catalog does not have` });
    const key = `${vbd.hypervisor}/${vbd.domain}/${vbd.vdev}`;
    if (targets.has(key)) problems.push({ code: 'TARGET_TWICE', message: `${name} is attached twice` });
    targets.add(key);
  }
  return problems;
}
