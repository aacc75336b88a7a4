// The invariants I1, I2, I3 as the simulation judges them, from what is really reachable: it looks past the product at the rows,
// the data path and the page caches, and shares no code of the sharing check or of the fence with it.

import { checkCatalog } from '../../src/core/check-rules.ts';
import type { Catalog } from '../../src/catalog/catalog.ts';
import type { ExpertLevel, Generation, PoolDevice, SectorUser, VbdMode, VbdPlan } from '../../src/core/types.ts';
import type { MemoryDataPath } from '../../src/datapath/memory/open-memory-data-path.ts';
import type { SimulatedHost } from '../../src/host/simulated/open-simulated-host.ts';
import type { Clock } from '../../src/base/clock.ts';

/** Bytes in a row of one drive. */
export type Place = { readonly space: string; readonly from: number; readonly to: number };
type Using = { readonly mode: VbdMode; readonly places: readonly Place[] };

export type Truth = {
  readonly catalog: Catalog;
  readonly host: SimulatedHost;
  readonly dataPath: MemoryDataPath;
  readonly clock: Clock;
  /** Of every generation that was ever opened. */
  readonly plans: ReadonlyMap<Generation, VbdPlan>;
  readonly experts: ReadonlyMap<Generation, ExpertLevel>;
  placesOf(device: string, fromByte: number, toByte: number): Place[];
};

const meet = (one: Place, other: Place): boolean => one.space === other.space && one.from < other.to && other.from < one.to;
const touch = (one: Using, other: Using): boolean => one.places.some((mine) => other.places.some((theirs) => meet(mine, theirs)));
const levelOf = (one: Using, other: Using): number => (touch(one, other) ? Number(one.mode === 'w') + Number(other.mode === 'w') : 0);

export const usingOf = (truth: Truth, plan: VbdPlan): Using => ({
  mode: plan.mode,
  places: plan.segments.flatMap(({ deviceIndex, offsetBytes, lengthBytes }) =>
    truth.placesOf(plan.devices[deviceIndex]?.path ?? '', offsetBytes, offsetBytes + lengthBytes),
  ),
});
const usingOfUser = ({ mode, footprint }: SectorUser): Using => ({
  mode,
  places: footprint.own.map(({ space, startSector, sectors }) => ({ space, from: startSector * 512, to: (startSector + sectors) * 512 })),
});

/** I3 at the moment at which a VBD becomes reachable, against what its task was told of others. */
export function sharesTooMuch(truth: Truth, plan: VbdPlan, expert: ExpertLevel, told: readonly SectorUser[]): string[] {
  const mine = usingOf(truth, plan);
  return told.flatMap((user) => {
    const level = levelOf(mine, usingOfUser(user));
    return level > expert ? [`I3: ${plan.exportName} is level ${level} with ${user.kind} ${user.name}, and the expert level is ${expert}`] : [];
  });
}

/** I1, I2 and I3 of all that can be reached now. One line a violation. */
export async function violations(truth: Truth): Promise<string[]> {
  return truth.catalog.read(async (reader) => {
    const devices = await reader.devices();
    const [owned, bad, vbds, workers] = [await reader.ownedRuns(), await reader.badRuns(), await reader.vbds(), await reader.workers()];
    const unowned = (await Promise.all(devices.map(({ id }) => reader.unownedRuns(id)))).flat();
    const now = (await reader.lastClock())?.trustedMs ?? truth.clock.read().wallMs;
    const disks = await reader.disks({ which: 'all', now });
    const found = checkCatalog({ devices, owned, unowned, bad, disks, vbds, now }).map(({ message }) => `I1: ${message}`);
    const owners = new Map(devices.map((device) => [device.path, ownersOf(device, owned)]));
    const served = (await truth.dataPath.list()).flatMap((generation) => {
      const plan = truth.plans.get(generation);
      return plan === undefined ? [] : [plan];
    });
    for (const plan of served) {
      const row = vbds.find(({ generation }) => generation === plan.generation);
      const copier = workers.find(({ pipe }) => pipe === plan.pipe);
      if (copier !== undefined) found.push(...reachesOthers(truth, plan, copier.diskId, devices, owners));
      else if (row === undefined) found.push(`I2: ${plan.exportName} can be reached and has no row`);
      else found.push(...reachesOthers(truth, plan, row.source.kind === 'vd' ? row.source.diskId : null, devices, owners));
    }
    found.push(...sharedPairs(truth, served));
    const reached = new Set([...vbds.flatMap(({ source }) => (source.kind === 'vd' ? [source.diskId] : [])), ...workers.map(({ diskId }) => diskId)]);
    found.push(...leftInCaches(truth, devices, owners, reached));
    return found;
  });
}

/** By extent; 0 = no disk. */
export function ownersOf(device: PoolDevice, owned: readonly { deviceId: number; firstExtent: number; count: number; diskId: number }[]): number[] {
  const owners = Array.from({ length: device.extentCount }, () => 0);
  for (const run of owned) if (run.deviceId === device.id) owners.fill(run.diskId, run.firstExtent, run.firstExtent + run.count);
  return owners;
}

function reachesOthers(
  truth: Truth,
  plan: VbdPlan,
  diskId: number | null,
  devices: readonly PoolDevice[],
  owners: ReadonlyMap<string, readonly number[]>,
): string[] {
  const found: string[] = [];
  if (diskId === null) {
    const mine = usingOf(truth, plan);
    for (const { path, sizeBytes } of devices)
      if (touch(mine, { mode: 'w', places: truth.placesOf(path, 0, sizeBytes) })) found.push(`I2: ${plan.exportName} reaches ${path}, which is in the pool`);
    return found;
  }
  for (const { deviceIndex, offsetBytes, lengthBytes } of plan.segments) {
    const device = devices.find(({ path }) => path === plan.devices[deviceIndex]?.path);
    if (device === undefined) return [`I2: ${plan.exportName} reaches ${plan.devices[deviceIndex]?.path}, which left the pool`];
    const first = Math.floor((offsetBytes - device.dataStartBytes) / device.extentBytes);
    const end = Math.ceil((offsetBytes + lengthBytes - device.dataStartBytes) / device.extentBytes);
    for (let extent = first; extent < end; extent += 1) {
      const owner = owners.get(device.path)?.[extent];
      if (owner !== diskId) found.push(`I2: ${plan.exportName} of vd:${diskId} reaches extent ${extent} of ${device.path}, which is of ${owner || 'nobody'}`);
    }
  }
  return found;
}

/** Two VBDs that meet were allowed to by whoever attached the later one. */
function sharedPairs(truth: Truth, served: readonly VbdPlan[]): string[] {
  return served.flatMap((later) =>
    served.flatMap((earlier) => {
      if (earlier.generation >= later.generation) return [];
      const level = levelOf(usingOf(truth, later), usingOf(truth, earlier));
      const expert = truth.experts.get(later.generation) ?? 0;
      return level > expert ? [`I3: ${later.exportName} is level ${level} with ${earlier.exportName}, and its expert level is ${expert}`] : [];
    }),
  );
}

/** A page of an extent that nobody reaches could land on its next owner's data, or be read by it. */
function leftInCaches(truth: Truth, devices: readonly PoolDevice[], owners: ReadonlyMap<string, readonly number[]>, reached: ReadonlySet<number>): string[] {
  return devices.flatMap(({ path, dataStartBytes, extentBytes }) =>
    (owners.get(path) ?? []).flatMap((owner, extent) => {
      if (reached.has(owner) || truth.host.store(path).cachedPages(dataStartBytes + extent * extentBytes, extentBytes) === 0) return [];
      return [`I2: pages of extent ${extent} of ${path} (${owner === 0 ? 'unowned' : `vd:${owner}`}) are in a cache, and nobody reaches it`];
    }),
  );
}
