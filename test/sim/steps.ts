// The steps of a history: what users ask for, what guests, others on the host and time do, and what breaks.

import { attachVbd } from '../../src/app/attach-vbd.ts';
import { checkPool } from '../../src/app/check-pool.ts';
import { createDisk } from '../../src/app/create-disk.ts';
import { deleteDisk } from '../../src/app/delete-disk.ts';
import { detachVbd } from '../../src/app/detach-vbd.ts';
import { formatDevice, unformatDevice } from '../../src/app/format-device.ts';
import { keepLeases } from '../../src/app/keep-leases.ts';
import { refreshDisk } from '../../src/app/refresh-disk.ts';
import { restoreDisk } from '../../src/app/restore-disk.ts';
import { endDomain, startDomain, stopDomain } from '../../src/app/start-domain.ts';
import { sectors } from '../../src/base/units.ts';
import type { ExpertLevel, SectorUser } from '../../src/core/types.ts';
import { DRIVES, EXTENT_BYTES, POOL_DRIVES } from './drives.ts';
import { BLOCK } from './model.ts';
import type { Fate } from './process.ts';
import type { Ended, Scene } from './scene.ts';

export type Step = { readonly kind: Kind; readonly a: number; readonly b: number };
export type Kind = keyof typeof actions;
type Action = (scene: Scene, a: number, b: number, fate: Fate | null) => Promise<Ended | void>;

const domains = ['0', 'web01', 'web02'] as const;
const targets = ['xvda', 'xvdb', 'sda'] as const;
const at = <T>(list: readonly T[], index: number): T | undefined => list[index % Math.max(1, list.length)];

/** Mostly a disk that is in such a state, sometimes any ID: refusals are part of a history. */
async function diskFor({ world }: Scene, which: 'living' | 'expired', pick: number): Promise<string> {
  const now = world.clock.read().wallMs;
  const disks = await world.catalog.read((reader) => reader.disks({ which, now }));
  return String(pick % 5 === 0 ? 1 + (pick % 12) : (at(disks, pick)?.id ?? 1 + (pick % 12)));
}

const lease = (b: number): { expiresInMs?: number } => (b % 3 === 0 ? {} : { expiresInMs: 1000 * (1 + (b % 50)) });
const expertOf = (b: number): ExpertLevel => (b % 4 === 0 ? 2 : b % 4 === 1 ? 1 : 0);

async function sourceFor(scene: Scene, a: number): Promise<string> {
  if (a % 11 === 0) return 'phy:/dev/sdd';
  if (a % 11 === 1) return 'phy:/dev/sdd1';
  if (a % 11 === 2) return `phy:${at(POOL_DRIVES, a) ?? ''}`;
  return `vd:${await diskFor(scene, 'living', a)}`;
}

export const actions = {
  format: (scene, a, _, fate) =>
    scene.command((system) => formatDevice(system, { device: at([...POOL_DRIVES, '/dev/sdd'], a) ?? '', extentBytes: EXTENT_BYTES, wipe: a % 5 === 0 }), fate),
  unformat: (scene, a, _, fate) => scene.command((system) => unformatDevice(system, { device: at(['/dev/sdc', '/dev/sdd'], a) ?? '' }), fate),
  create: (scene, a, b, fate) =>
    scene.command(
      (system) =>
        createDisk(system, {
          sizeBytes: BLOCK * (1 + (a % 100)),
          ...lease(b),
          ...(b % 7 === 0 ? { name: `n${a % 3}` } : {}),
          onExpiry: b % 5 === 0 ? 'hold' : 'revoke',
        }),
      fate,
    ),
  refresh: async (scene, a, b, fate) => {
    const disk = await diskFor(scene, 'living', a);
    return scene.command((system) => refreshDisk(system, { disk, ...lease(b) }), fate);
  },
  remove: async (scene, a, b, fate) => {
    const disk = await diskFor(scene, 'living', a);
    return b % 2 === 0
      ? scene.daemon((system) => deleteDisk(system, { disk, force: true }), fate)
      : scene.command((system) => deleteDisk(system, { disk }), fate);
  },
  restore: async (scene, a, b, fate) => {
    const disk = await diskFor(scene, 'expired', a);
    return scene.command((system) => restoreDisk(system, { disk, ...lease(b) }), fate);
  },
  attach: async (scene, a, b, fate) => {
    const source = await sourceFor(scene, a);
    const expert = expertOf(b);
    const options = { source, target: at(targets, b) ?? '', domain: at(domains, a + b) ?? '', mode: b % 5 < 2 ? 'r' : 'w', expert } as const;
    const more = { persist: a % 4 === 0, ...(b % 3 === 0 ? { cache: 'writeback' as const } : {}), dryRun: b % 13 === 0 };
    return scene.daemon((system) => attachVbd(system, { ...options, ...more }), fate, expert);
  },
  serve: async (scene, a, b, fate) => {
    const source = await sourceFor(scene, a);
    const options = { source, target: at(targets, b) ?? '', domain: `client${a % 2}`, mode: b % 2 === 0 ? 'r' : 'w', driver: 'nbd' } as const;
    return scene.daemon((system) => attachVbd(system, options), fate);
  },
  detach: async (scene, a, b, fate) => {
    const vbd = at(await scene.vbds(), a);
    const { target, domain } = b % 7 === 0 || vbd === undefined ? { target: at(targets, b) ?? '', domain: at(domains, a) ?? '' } : vbd;
    return scene.daemon((system) => detachVbd(system, { target, domain, force: b % 2 === 0 }), fate);
  },
  domainStart: async (scene, a, b, fate) => {
    const disks = [];
    for (const [index, target] of targets.slice(0, 1 + (b % 2)).entries())
      disks.push({ source: `vd:${await diskFor(scene, 'living', a + index)}`, target, mode: 'w' });
    const description = { name: `vm${a % 2}`, kernel: '/boot/vmlinuz', memory: '64M', disks };
    return scene.daemon((system) => startDomain(system, description), fate);
  },
  domainStop: (scene, a, b, fate) => scene.daemon((system) => stopDomain(system, { name: `vm${a % 2}`, force: b % 2 === 0 }), fate),
  domainEnds: async (scene, a, _, fate) => {
    const domain = at(['web01', 'web02', 'vm0', 'vm1'], a) ?? '';
    const { qemu } = scene.world;
    if ((await qemu.find(domain)) === null) {
      if (domain.startsWith('web')) qemu.addDomain(domain);
      return;
    }
    qemu.endDomain(domain);
    // A domain of that name may run again before the daemon hears of the end.
    if (a % 3 === 0) qemu.addDomain(domain);
    return scene.daemon((system) => endDomain(system, domain, 'domain ended'), fate);
  },
  check: (scene, a, _, fate) => scene.command((system) => checkPool(system, { repair: a % 2 === 0 }), fate),
  leases: async (scene, a, _, fate) => {
    scene.world.advance(1000 * (a % 40));
    return scene.daemon((system) => keepLeases(system, scene.world.memory), fate);
  },
  daemonStarts: (scene, _, __, fate) => scene.restart(fate),
  write: (scene, a, b) => scene.write(a, b),
  flush: (scene, a) => scene.flush(a),
  async lands({ world }, a) {
    world.host.store(at(POOL_DRIVES, a) ?? '').landSome((page) => (page * 7 + a) % 3 === 0);
  },
  async guest(scene, a, b) {
    const vbd = at(await scene.vbds(), a);
    if (vbd !== undefined) scene.world.qemu.use(vbd.generation, b % 2 === 0);
    if (vbd !== undefined) scene.world.thisHost.use(vbd.generation, b % 2 === 0);
  },
  async outsider({ world }, a, b) {
    const place = DRIVES[a % DRIVES.length];
    const first = place?.footprint.own[0];
    if (first === undefined) return;
    const range = { ...first, startSector: sectors(first.startSector + ((2 * b) % 4096)), sectors: sectors(1 + (b % 300)) };
    const user: SectorUser = {
      kind: b % 2 === 0 ? 'mount' : 'process',
      name: 'somebody',
      mode: b % 3 === 0 ? 'r' : 'w',
      footprint: { own: [range], below: [] },
    };
    if (a % 4 === 3) world.qemu.setForeignUsers(b % 4 === 0 ? [] : [user]);
    else world.host.setUsers(b % 4 === 0 ? [] : [user]);
  },
  async hang(scene, a, b) {
    const generation = at(await scene.world.dataPath.list(), a);
    if (generation === undefined) return;
    if (b % 3 === 0) scene.world.dataPath.hang(generation);
    else scene.world.dataPath.letGo(generation);
  },
  wake: (scene) => scene.wake(),
  hostCrashes: (scene) => scene.hostCrashes(),
} satisfies Record<string, Action>;

const acting: Readonly<Record<string, Action>> = actions;
export const kinds = Object.keys(actions) as Kind[];
/** Those that go by calls of ports, each of which can go wrong. */
export const fated = kinds.filter((kind) => acting[kind]?.length === 4);
export const take = (scene: Scene, { kind, a, b }: Step, fate: Fate | null): Promise<Ended | void> => acting[kind]!(scene, a, b, fate);
