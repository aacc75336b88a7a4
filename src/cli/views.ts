// Disks, VBDs and devices as text.

import type { ConflictInfo, DeviceInfo, DiskInfo, DomainInfo, EventInfo, ExtentInfo, VbdInfo } from '../app/shapes.ts';
import { formatLeft } from '../core/duration.ts';
import { formatSize } from '../core/size.ts';
import { textFields, textTable } from './text-table.ts';

/** What is left of a lease. */
export function leaseLeft(disk: Pick<DiskInfo, 'expiresAt' | 'state'>, nowMs: number): string {
  if (disk.state === 'expired' || disk.state === 'reclaimed') return 'over';
  return disk.expiresAt === null ? 'never' : formatLeft(Date.parse(disk.expiresAt) - nowMs);
}

export function diskTable(disks: readonly DiskInfo[], nowMs: number): string {
  const rows = disks.map((disk) => [
    disk.uname,
    disk.name ?? '-',
    formatSize(disk.sizeBytes),
    disk.state,
    leaseLeft(disk, nowMs),
    disk.vbds.map((vbd) => `${vbd.domain}:${vbd.target.replace('/dev/', '')}(${vbd.mode})`).join(' ') || '-',
  ]);
  return textTable([{ title: 'DISK' }, { title: 'NAME' }, { title: 'SIZE', right: true }, { title: 'STATE' }, { title: 'LEASE' }, { title: 'ATTACHED' }], rows);
}

export function diskFields(disk: DiskInfo, nowMs: number): string {
  const labels = Object.entries(disk.labels).map(([key, value]) => `${key}=${value}`);
  const fields: [string, string][] = [
    ['disk', disk.uname],
    ['name', disk.name ?? '-'],
    ['size', `${formatSize(disk.sizeBytes)} (${disk.sizeBytes} bytes, blocks of ${disk.blockBytes})`],
    ['pool', disk.pool],
    ['state', disk.suspect ? `${disk.state}, suspect` : disk.state],
    ['created', disk.createdAt],
    ['lease', disk.expiresAt === null ? 'never ends' : `${leaseLeft(disk, nowMs)} (${disk.expiresAt}), then ${disk.onExpiry}`],
  ];
  if (labels.length > 0) fields.push(['labels', labels.join(' ')]);
  if (disk.state === 'expired') fields.push(['lost', 'nothing: it can be restored']);
  if (disk.state === 'reclaimed') fields.push(['lost', `${formatSize(disk.lostBytes)}: it cannot be restored`]);
  for (const vbd of disk.vbds) fields.push(['attached', `${vbd.target} of domain ${vbd.domain} (${vbd.mode}, ${vbd.state})`]);
  return textFields(fields);
}

/** Whom an attach shares sectors with. */
export function conflictTable(conflicts: readonly ConflictInfo[]): string {
  const rows = conflicts.map(({ user, name, mode, device, startSector, sectors }) => [user, name, mode, device, String(startSector), String(sectors)]);
  const titles = ['SHARED WITH', 'NAME', 'MODE', 'DEVICE', 'SECTOR', 'SECTORS'];
  return textTable(
    titles.map((title) => ({ title, right: title.startsWith('SECTOR') })),
    rows,
  );
}

export function vbdTable(vbds: readonly VbdInfo[]): string {
  const rows = vbds.map((vbd) => [
    vbd.domain,
    vbd.target,
    vbd.source,
    vbd.mode,
    vbd.state,
    vbd.driver,
    formatSize(vbd.sizeBytes),
    String(vbd.sharing),
    vbd.devicePath ?? vbd.uri ?? '-',
  ]);
  const titles = ['DOMAIN', 'TARGET', 'SOURCE', 'MODE', 'STATE', 'DRIVER', 'SIZE', 'SHARING', 'WHERE'];
  return textTable(
    titles.map((title) => ({ title, right: title === 'SIZE' })),
    rows,
  );
}

export function deviceTable(devices: readonly DeviceInfo[]): string {
  const titles = ['DEVICE', 'POOL', 'EXTENT', 'TOTAL', 'USED', 'FREE', 'RESERVED', 'BAD', 'RECLAIMABLE', 'CLEAN'];
  const rows = devices.map((device) => [
    device.device,
    device.pool,
    ...[
      device.extentBytes,
      device.totalBytes,
      device.usedBytes,
      device.freeBytes,
      device.reservedBytes,
      device.badBytes,
      device.reclaimableBytes,
      device.cleanBytes,
    ].map(formatSize),
  ]);
  return textTable(
    titles.map((title, index) => ({ title, right: index > 1 })),
    rows,
  );
}

export function domainTable(domains: readonly DomainInfo[]): string {
  const rows = domains.map((domain) => [
    domain.name,
    domain.id,
    domain.hypervisor,
    domain.state,
    domain.vbds.map((vbd) => `${vbd.target.replace('/dev/', '')}=${vbd.source}`).join(' ') || '-',
  ]);
  return textTable(
    ['NAME', 'ID', 'HYPERVISOR', 'STATE', 'VBDS'].map((title) => ({ title })),
    rows,
  );
}

export function extentTable(extents: readonly ExtentInfo[]): string {
  const rows = extents.map((extent) => [extent.device, String(extent.startSector), String(extent.sectors), formatSize(extent.sectors * 512)]);
  return textTable([{ title: 'DEVICE' }, { title: 'START', right: true }, { title: 'SECTORS', right: true }, { title: 'SIZE', right: true }], rows);
}

export function eventLine(event: EventInfo): string {
  const data = Object.entries(event.data).filter(([, value]) => value !== null && value !== undefined && value !== '');
  return `${event.time}  ${event.type.padEnd(18)}  ${event.subject}${data.map(([key, value]) => `  ${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`).join('')}\n`;
}
