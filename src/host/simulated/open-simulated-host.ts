// A host in memory: devices whose bytes are kept sparsely behind a page cache, users that a test sets, processes that live
// until a test ends them. Good enough to run the whole product without a disk.

import { XvdError } from '../../base/error.ts';
import { bytes, SECTOR_BYTES, sectors } from '../../base/units.ts';
import { decodeLabel, LABEL_HEADER_BYTES } from '../../core/label.ts';
import type { DeviceIdentity, PlanDevice, SectorUser } from '../../core/types.ts';
import type { ByteRange, DeviceFacts, Host } from '../host.ts';
import { PageStore } from './page-store.ts';

export type SimulatedDevice = { readonly path: string; readonly sizeBytes: number } & Partial<Omit<DeviceFacts, 'path' | 'sizeBytes'>>;

export interface SimulatedHost extends Host {
  addDevice(device: SimulatedDevice): void;
  /** Pulled out: its bytes are kept, and come back with it. */
  pullDevice(path: string): void;
  returnDevice(path: string): void;
  setUsers(users: readonly SectorUser[]): void;
  /** The bytes of a device and its cache, as a data path reaches them. */
  store(path: string): PageStore;
  /** Ends every process that holds the pipe, abruptly. */
  endHolders(pipe: string): void;
  /** The host crashes and boots again: caches and processes are gone. */
  reboot(): void;
}

type Entry = { readonly facts: DeviceFacts; readonly store: PageStore; present: boolean };

export function openSimulatedHost(devices: readonly SimulatedDevice[] = []): SimulatedHost {
  const entries = new Map<string, Entry>();
  const pipes = new Map<string, Set<symbol>>();
  const claims = new Set<string>();
  let users: readonly SectorUser[] = [];
  let boots = 1;
  const look = (given: string): Entry => {
    const path = given.startsWith('/') ? given : `/dev/${given}`;
    const entry = entries.get(path);
    if (entry === undefined || !entry.present) throw new XvdError('DEVICE_NOT_FOUND', `${path} does not exist`);
    return entry;
  };
  const verified = (device: PlanDevice): Entry => {
    const entry = look(device.path);
    verify(device, entry);
    refuseTwins(device, entry, entries);
    return entry;
  };
  const add = (device: SimulatedDevice): void => {
    entries.set(device.path, { facts: factsOf(device, entries.size), store: new PageStore(device.sizeBytes), present: true });
  };
  for (const device of devices) add(device);
  return {
    ...aliveMarks(pipes),
    inspect: async (path) => withTwins(look(path), entries),
    users: async () => users,
    verify: async (device) => void verified(device),
    zero: async (device, ranges, progress, signal) => {
      const { store } = verified(device);
      let doneBytes = 0;
      for (const { offsetBytes, lengthBytes } of ranges) {
        signal?.throwIfAborted();
        store.zero(offsetBytes, lengthBytes);
        doneBytes += lengthBytes;
        progress?.(bytes(doneBytes));
      }
    },
    readBytes: async (device, { offsetBytes, lengthBytes }) => {
      const { store } = verified(device);
      inside(device, offsetBytes + lengthBytes);
      store.flush(offsetBytes, lengthBytes); // as direct I/O on the same node does
      return store.readDirect(offsetBytes, lengthBytes);
    },
    writeBytes: async (device, offsetBytes, data) => {
      inside(device, offsetBytes + data.length);
      verified(device).store.writeDirect(offsetBytes, data);
    },
    claim: async (spaces) => claimSpaces(claims, spaces),
    settle: async (device, ranges) => settle(verified(device).store, ranges),
    bootId: async () => `boot-${boots}`,
    addDevice: add,
    pullDevice: (path) => void (look(path).present = false),
    returnDevice: (path) => {
      const entry = entries.get(path);
      if (entry !== undefined) entry.present = true;
    },
    setUsers: (now) => void (users = now),
    store: (path) => look(path).store,
    endHolders: (pipe) => pipes.get(pipe)?.clear(),
    reboot: () => {
      boots += 1;
      pipes.clear();
      claims.clear();
      for (const { store } of entries.values()) store.loseCache();
    },
  };
}

function claimSpaces(claims: Set<string>, spaces: readonly string[]): AsyncDisposable {
  const taken = spaces.find((space) => claims.has(space));
  if (taken !== undefined) throw new XvdError('DEVICE_BUSY', `another command has claimed ${taken}`);
  const mine = [...new Set(spaces)];
  for (const space of mine) claims.add(space);
  return { [Symbol.asyncDispose]: async () => mine.splice(0).forEach((space) => claims.delete(space)) };
}

function aliveMarks(pipes: Map<string, Set<symbol>>): Pick<Host, 'holdAlive' | 'aliveIsGone' | 'forgetAlive' | 'alivePipes'> {
  let processes = 1000;
  return {
    holdAlive: async (pipe) => {
      const mark = Symbol(pipe);
      const holders = pipes.get(pipe) ?? new Set();
      pipes.set(pipe, holders.add(mark));
      processes += 1;
      return { pid: processes, startTicks: processes * 10, [Symbol.asyncDispose]: async () => void holders.delete(mark) };
    },
    aliveIsGone: async (pipe) => pipes.get(pipe)?.size === 0,
    forgetAlive: async (pipe) => void pipes.delete(pipe),
    alivePipes: async (prefix) => [...pipes.keys()].filter((pipe) => pipe.startsWith(prefix)),
  };
}

function inside(device: PlanDevice, endBytes: number): void {
  if (endBytes > device.sizeBytes) throw new XvdError('DEVICE_FAILED', `${device.path} ends before byte ${endBytes}`);
}

function settle(store: PageStore, ranges: readonly ByteRange[]): void {
  for (const { offsetBytes, lengthBytes } of ranges) {
    store.flush(offsetBytes, lengthBytes);
    store.drop(offsetBytes, lengthBytes);
    if (store.cachedPages(offsetBytes, lengthBytes) > 0) throw new XvdError('FENCE_UNPROVED', 'pages stay in the cache');
  }
}

function verify(device: PlanDevice, { facts, store }: Entry): void {
  const label = device.identity.kind === 'label' ? decodeLabel(store.readCached(0, LABEL_HEADER_BYTES)) : null;
  const found: DeviceIdentity = label === null ? facts.identity : { kind: 'label', deviceUuid: label.deviceUuid };
  const sameIdentity = device.identity.kind === 'path' ? device.identity.path === device.path : JSON.stringify(found) === JSON.stringify(device.identity);
  const same = device.kind === facts.kind && device.sizeBytes === facts.sizeBytes && sameIdentity;
  if (!same) throw new XvdError('DEVICE_IDENTITY_MISMATCH', `${device.path} is not the device that the catalog knows`);
}

/** Of other sectors, with the same identity: the paths of one device are one. */
function withTwins({ facts }: Entry, entries: ReadonlyMap<string, Entry>): DeviceFacts {
  const spaces = new Set(facts.footprint.own.map(({ space }) => space));
  const twins = [...entries.values()].filter(
    (other) =>
      other.present &&
      facts.identity.kind !== 'path' &&
      JSON.stringify(other.facts.identity) === JSON.stringify(facts.identity) &&
      !other.facts.footprint.own.some(({ space }) => spaces.has(space)),
  );
  return { ...facts, twins: twins.map((other) => other.facts.path) };
}

function refuseTwins({ path, identity }: PlanDevice, entry: Entry, entries: ReadonlyMap<string, Entry>): void {
  const [twin] = identity.kind === 'label' || identity.kind === 'path' ? [] : withTwins(entry, entries).twins;
  if (twin !== undefined) throw new XvdError('DEVICE_IDENTITY_MISMATCH', `${path} and ${twin} have one identity`);
}

function factsOf({ path, sizeBytes, ...given }: SimulatedDevice, index: number): DeviceFacts {
  const space = `drive:8:${index * 16}`;
  return {
    path,
    kind: 'block',
    sizeBytes: bytes(sizeBytes),
    logicalBlockBytes: 512,
    physicalBlockBytes: 4096,
    identity: { kind: 'serial', value: `SIM${path}`, startSector: sectors(0) },
    drivePath: path,
    driveStartSector: sectors(0),
    footprint: { own: [{ space, startSector: sectors(0), sectors: sectors(Math.floor(sizeBytes / SECTOR_BYTES)) }], below: [] },
    readOnly: false,
    sparse: false,
    copyOnWrite: false,
    holdsSystem: false,
    signatures: [],
    twins: [],
    ...given,
  };
}
