// A machine for the table: drives with partitions, a filesystem with a file on it, a device-mapper device, and what a kernel would
// tell of those who use them. Numbers are literal, so that the table can be read beside them.

import { MIB, sectors } from '../../src/base/units.ts';
import type { Footprint, SectorRange, SectorUser, VbdMode } from '../../src/core/types.ts';
import type { SimulatedDevice } from '../../src/host/simulated/open-simulated-host.ts';

const range = (space: string, startSector: number, count: number): SectorRange => ({ space, startSector: sectors(startSector), sectors: sectors(count) });
const PART = 8192;

/** Three partitions of one drive, one behind the other. */
const x = (number: 1 | 2 | 3): SectorRange => range('drive:8:112', 2048 + (number - 1) * PART, PART);
const m1 = range('drive:8:128', 2048, PART);
const f1 = range('drive:8:144', 2048, 4 * PART);
const image = range('file:8:145:12', 0, 2048);
const lv = range('drive:253:0', 0, PART);
const own = (...ranges: readonly SectorRange[]): Footprint => ({ own: ranges, below: [] });

const device = (path: string, sizeSectors: number, footprint: Footprint, more: Partial<SimulatedDevice> = {}): SimulatedDevice => ({
  path,
  sizeBytes: sizeSectors * 512,
  footprint,
  ...more,
});

export const POOL = '/dev/sdp';
export const devices: readonly SimulatedDevice[] = [
  device(POOL, (16 * MIB) / 512, own(range('drive:8:240', 0, (16 * MIB) / 512))),
  device('/dev/sdx', 65_536, own(range('drive:8:112', 0, 65_536))),
  ...([1, 2, 3] as const).map((number) =>
    device(`/dev/sdx${number}`, PART, own(x(number)), { drivePath: '/dev/sdx', driveStartSector: x(number).startSector }),
  ),
  device('/dev/sdm', 65_536, own(range('drive:8:128', 0, 65_536))),
  device('/data/img', 2048, { own: [image], below: [f1], via: ['fs:8:145'] }, { kind: 'file' }),
  device('/dev/mapper/lv', PART, { own: [lv, x(1)], below: [], via: ['drive:253:0'] }),
];

/** What each use of the table is attached as. */
export const sources = {
  VD: 'vd:1',
  partition: 'phy:/dev/sdx1',
  'whole drive': 'phy:/dev/sdx',
  'drive around a mount': 'phy:/dev/sdm',
  'file with a loop': 'phy:/data/img',
  swap: 'phy:/dev/sdx2',
  'dm on a partition': 'phy:/dev/mapper/lv',
  'open device': 'phy:/dev/sdx3',
  'pool device': `phy:${POOL}`,
} as const;

/** The filesystem that the file lies on is mounted, as ever; what it carries is no conflict with it. */
const dataMount: SectorUser = { kind: 'mount', name: '/data', mode: 'w', footprint: own(f1), carries: 'fs:8:145' };
const mapping = (mode: VbdMode): SectorUser => ({
  kind: 'holder',
  name: '/dev/mapper/lv',
  mode,
  footprint: { own: [x(1)], below: [], via: ['drive:253:0'] },
  carries: 'drive:253:0',
});

/** What the kernel tells, when there is such a use. A mapping that is to be attached is there as well. */
export function usersOf(existing: keyof typeof sources, mode: VbdMode, now: keyof typeof sources): readonly SectorUser[] {
  const mapped = existing === 'dm on a partition' ? [mapping(mode)] : now === 'dm on a partition' ? [mapping('w')] : [];
  return [dataMount, ...mapped, ...othersOf(existing, mode)];
}

function othersOf(existing: keyof typeof sources, mode: VbdMode): readonly SectorUser[] {
  const others: Partial<Record<keyof typeof sources, SectorUser>> = {
    'drive around a mount': { kind: 'mount', name: '/mnt', mode, footprint: own(m1), carries: 'fs:8:129' },
    'file with a loop': {
      kind: 'loop',
      name: '/dev/loop0 on /data/img',
      mode,
      footprint: { own: [image], below: [f1], via: ['drive:7:0', 'fs:8:145'] },
      carries: 'drive:7:0',
    },
    swap: { kind: 'swap', name: '/dev/sdx2', mode: 'w', footprint: own(x(2)) },
    'open device': { kind: 'process', name: 'dd (pid 7)', mode, footprint: own(x(3)) },
  };
  const other = others[existing];
  return other === undefined ? [] : [other];
}
