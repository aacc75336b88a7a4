// The first half of every attach: check, record, and serve. What it records is `attaching` until the domain has the device;
// a crash in between is undone at the next start of the daemon.

import { XvdError } from '../base/error.ts';
import { limits } from '../base/limits.ts';
import { bytes } from '../base/units.ts';
import type { Bytes, WallMs } from '../base/units.ts';
import type { DriverFacts } from '../core/choose-driver.ts';
import { diskState } from '../core/lease.ts';
import { parseTarget } from '../core/target.ts';
import type { CacheMode, Driver, Endpoint, ExpertLevel, Footprint, SectorUser, Source, Vbd, VbdMode } from '../core/types.ts';
import { parseUname } from '../core/uname.ts';
import { change } from './change.ts';
import type { Change } from './change.ts';
import { claimDevice } from './claim-device.ts';
import { hostBlockBytes, refuseTwins } from './device-safety.ts';
import { dataPathOf, pickDriver } from './domains.ts';
import type { Place } from './domains.ts';
import { undoAttach } from './end-vbd.ts';
import { findDisk, unameOf } from './find-disk.ts';
import { sourceName } from './info.ts';
import { refuseOverlap } from './pool-overlap.ts';
import { reapWorkers } from './reap-workers.ts';
import { catalogUsers, footprintOfDisk, footprintOfPath, lookUpPlaces, refuseUnusableRuns } from './sector-users.ts';
import type { Places } from './sector-users.ts';
import type { AttachOptions, ConflictInfo } from './shapes.ts';
import { allowSharing } from './sharing-check.ts';
import type { System } from './system.ts';
import { exportNameOf, filtersOf, planOf, sizeOfPhysical } from './vbd-plan.ts';

export type Reserved = {
  readonly vbd: Vbd;
  readonly endpoint: Endpoint;
  readonly blockBytes: 512 | 4096;
  readonly warnings: readonly string[];
  readonly conflicts: readonly ConflictInfo[];
  readonly use: SectorUser;
};
/** The same source, target, domain and mode is attached already. */
export type Attached = { readonly already: Vbd };

type Want = {
  readonly options: AttachOptions;
  readonly place: Place;
  /** Kinds of data path here, preferred first. */
  readonly drivers: readonly Driver[];
  readonly target: string;
  readonly vdev: number;
  readonly mode: VbdMode;
  readonly expert: ExpertLevel;
  readonly bootId: string;
  readonly places: Places;
  readonly deviceIds: ReadonlySet<number>;
  readonly paths: ReadonlySet<string>;
  /** Users that the host and the hypervisors tell of, read before the transaction. */
  readonly outside: readonly SectorUser[];
};

type Found = {
  readonly source: Source;
  readonly sizeBytes: Bytes;
  readonly blockBytes: 512 | 4096;
  readonly devices: DriverFacts['devices'];
  readonly footprint: Footprint;
  readonly cache: CacheMode;
  readonly endsAt: WallMs | null;
};

/** Carries a dry run's result out of the transaction that is undone. */
export class DryRunAttach extends Error {
  readonly vbd: Vbd;
  readonly conflicts: readonly ConflictInfo[];
  readonly warnings: readonly string[];
  constructor(vbd: Vbd, { conflicts, warnings }: Pick<Recorded, 'conflicts' | 'warnings'>) {
    super('dry run');
    this.vbd = vbd;
    this.conflicts = conflicts;
    this.warnings = warnings;
  }
}

export async function reserveVbd(system: System, options: AttachOptions, place: Place): Promise<Reserved | Attached> {
  const { want, recorded } = await recordFresh(system, options, place);
  if ('already' in recorded) return recorded;
  const { vbd, use, warnings, conflicts } = recorded;
  try {
    // What others can change is read again before the VBD becomes reachable.
    allowSharing(use, await outsideUsers(system), want.expert, want.places);
    const plan = await planOf(system, vbd);
    return { vbd, use, warnings, conflicts, blockBytes: plan.blockBytes, endpoint: await dataPathOf(system, vbd.driver).open(plan) };
  } catch (error) {
    await undoAttach(system, vbd);
    throw error;
  }
}

/** Devices that joined the pool, or VBDs of other devices, after the host was asked: then it is asked again. */
class LookedTooEarly extends Error {}

async function recordFresh(system: System, options: AttachOptions, place: Place): Promise<{ want: Want; recorded: Recorded | Attached }> {
  for (let tries = 1; ; tries += 1) {
    await using claim = await claimSource(system, options.source);
    void claim;
    const want = await gather(system, options, place);
    try {
      return { want, recorded: await change(system, 'attach', (tx) => record(tx, want)) };
    } catch (error) {
      if (!(error instanceof LookedTooEarly)) throw error;
      if (tries >= limits.attachTries) throw new XvdError('CATALOG_LOCKED', 'the pool keeps changing while this attach looks at it');
    }
  }
}

/** A device that is being formatted is not attached meanwhile, nor the other way round. */
async function claimSource(system: System, source: string): Promise<AsyncDisposable | null> {
  const parsed = parseUname(source);
  return parsed.kind === 'phy' ? claimDevice(system, await system.host.inspect(parsed.path, { signatures: false })) : null;
}

async function gather(system: System, options: AttachOptions, place: Place): Promise<Want> {
  const { target, vdev } = parseTarget(options.target);
  const parsed = parseUname(options.source);
  // Refused here, before anything is recorded.
  filtersOf(options);
  await reapWorkers(system);
  const { devices, paths } = await system.catalog.read(async (reader) => ({
    devices: await reader.devices(),
    paths: (await reader.vbds()).flatMap(({ source }) => (source.kind === 'phy' ? [source.path] : [])),
  }));
  const places = await lookUpPlaces(system, devices, paths);
  if (parsed.kind === 'phy') {
    const facts = await system.host.inspect(parsed.path, { signatures: false, twins: true });
    refuseTwins(facts);
    await refuseOverlap(system, facts, devices, 'phy');
    (places.byPath as Map<string, typeof facts>).set(parsed.path, facts).set(facts.path, facts);
  }
  return {
    options,
    place,
    drivers: system.dataPaths.map(({ driver }) => driver),
    target,
    vdev,
    mode: options.mode ?? 'r',
    expert: options.expert ?? 0,
    bootId: await system.host.bootId(),
    places,
    deviceIds: new Set(devices.map(({ id }) => id)),
    paths: new Set(paths),
    outside: await outsideUsers(system),
  };
}

export async function outsideUsers(system: System): Promise<SectorUser[]> {
  const users = [...(await system.host.users())];
  for (const hypervisor of system.hypervisors) users.push(...(await hypervisor.foreignUsers()));
  return users;
}

type Recorded = Pick<Reserved, 'vbd' | 'use' | 'warnings' | 'conflicts'>;

async function record(tx: Change, want: Want): Promise<Recorded | Attached> {
  const paths = (await tx.writer.vbds()).flatMap(({ source }) => (source.kind === 'phy' ? [source.path] : []));
  const known = (await tx.writer.devices()).every(({ id }) => want.deviceIds.has(id)) && paths.every((path) => want.paths.has(path));
  if (!known) throw new LookedTooEarly();
  const found = await findSource(tx, want);
  const { place, target, vdev, mode, options } = want;
  const taken = (await tx.writer.vbds({ domain: place.domain })).find((vbd) => vbd.vdev === vdev);
  if (taken !== undefined) return settleTaken(taken, found.source, mode);
  const use: SectorUser = { kind: 'vbd', name: sourceName(found.source), mode, footprint: found.footprint };
  const verdict = allowSharing(use, [...want.outside, ...(await catalogUsers(tx.writer, want.places))], want.expert, want.places);
  const row = {
    domain: place.domain,
    hypervisor: place.hypervisor?.name ?? ('none' as const),
    target,
    vdev,
    source: found.source,
    mode,
    driver: await driverOf(tx, want, found),
    cache: options.cache ?? found.cache,
    state: 'attaching' as const,
    sizeBytes: found.sizeBytes,
    sharing: verdict.level,
    devicePath: null,
    uri: null,
    persist: options.persist ?? false,
    limit: options.limit ?? null,
    delay: options.delay ?? null,
    faults: options.faults ?? null,
    createdAt: tx.now,
    bootId: want.bootId,
  };
  const warnings = [...verdict.warnings, ...leaseWarning(tx.now, found)];
  const { conflicts } = verdict;
  if (options.dryRun === true) throw new DryRunAttach({ ...row, generation: 0 }, { conflicts, warnings });
  const vbd = await tx.writer.addVbd(row);
  if (found.source.kind === 'vd' && mode === 'w') await markDirty(tx, found.source.diskId);
  await tx.event('vbd.attaching', exportNameOf(vbd), { source: sourceName(vbd.source), mode, sharing: verdict.level });
  return { vbd, use, warnings, conflicts };
}

async function driverOf(tx: Change, want: Want, { source, devices, blockBytes }: Found): Promise<Driver> {
  const { options, place, drivers } = want;
  const others = (await tx.writer.vbds()).filter((vbd) => sourceName(vbd.source) === sourceName(source));
  const facts = {
    wanted: options.driver ?? 'auto',
    here: drivers,
    consumerConnects: place.hypervisor === null,
    inUse: others[0]?.driver ?? null,
    devices,
    blockBytes,
    filtered: Object.keys(filtersOf(options)).length > 0,
    cache: options.cache ?? null,
  };
  return pickDriver(facts, sourceName(source));
}

function leaseWarning(now: WallMs, { endsAt, source }: Found): string[] {
  return endsAt !== null && endsAt - now < 60_000 ? [`the lease of ${sourceName(source)} ends within the minute`] : [];
}

function settleTaken(taken: Vbd, source: Source, mode: VbdMode): Attached {
  if (taken.state === 'attached' && sourceName(taken.source) === sourceName(source) && taken.mode === mode) return { already: taken };
  throw new XvdError('TARGET_TAKEN', `${taken.target} of domain ${taken.domain} is ${taken.state} to ${sourceName(taken.source)} (${taken.mode})`);
}

async function findSource(tx: Change, want: Want): Promise<Found> {
  const parsed = parseUname(want.options.source);
  if (parsed.kind === 'phy') {
    const facts = want.places.byPath.get(parsed.path);
    if (facts === undefined) throw new XvdError('DEVICE_NOT_FOUND', `no device ${parsed.path}`);
    const cache = facts.kind === 'file' ? 'writeback' : 'none';
    return {
      source: { kind: 'phy', path: facts.path },
      sizeBytes: bytes(sizeOfPhysical(facts.sizeBytes)),
      blockBytes: hostBlockBytes(facts),
      devices: [{ path: facts.path, kind: facts.kind, blockBytes: hostBlockBytes(facts) }],
      footprint: footprintOfPath(facts.path, want.places),
      cache,
      endsAt: null,
    };
  }
  const disk = await findDisk(tx.writer, parsed.ref);
  const state = diskState(disk, tx.now);
  if (state === 'preparing') throw new XvdError('DISK_PREPARING', `${unameOf(disk)} is still being prepared`);
  if (state === 'expired') throw new XvdError('DISK_EXPIRED', `the lease of ${unameOf(disk)} is over`);
  if (state === 'reclaimed') throw new XvdError('DISK_RECLAIMED', `the lease of ${unameOf(disk)} is over and ${disk.lostBytes} bytes of it are lost`);
  const devices = new Map((await tx.writer.devices()).map((device) => [device.id, device]));
  const runs = await tx.writer.runs(disk.id);
  refuseUnusableRuns(runs, want.places);
  const used = [...devices.values()].filter(({ id }) => runs.some((run) => run.deviceId === id));
  return {
    source: { kind: 'vd', diskId: disk.id },
    sizeBytes: disk.sizeBytes,
    blockBytes: disk.blockBytes,
    devices: used,
    footprint: footprintOfDisk(disk, runs, devices, want.places),
    cache: used.every(({ kind }) => kind === 'file') ? 'writeback' : 'none',
    endsAt: disk.expiresAt,
  };
}

/** Before the first writable use: what was zeros may not be from here on. */
export async function markDirty(tx: Change, diskId: number): Promise<void> {
  const runs = await tx.writer.runs(diskId);
  if (runs.some((run) => run.clean))
    await tx.writer.setRuns(
      diskId,
      runs.map((run) => ({ ...run, clean: false })),
    );
}
