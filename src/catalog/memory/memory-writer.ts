// Writes of the catalog in memory, on the copy that its transaction works on.

import { XvdError } from '../../base/error.ts';
import { invariant } from '../../base/invariant.ts';
import { extents } from '../../base/units.ts';
import type { Disk, Run, Vbd } from '../../core/types.ts';
import type { CatalogReader, CatalogWriter } from '../catalog.ts';
import type { State } from './state.ts';

export function memoryWriter(state: () => State, reader: CatalogReader, eventsKept: number): CatalogWriter {
  return {
    ...reader,
    ...spaceWriter(state),
    ...userWriter(state),
    storeClock: async ({ wallMs, bootId, sinceBootMs }, trustedMs) => void (state().clock = { reading: { wallMs, bootId, sinceBootMs }, trustedMs }),
    addDisk: async (added) => {
      const disk = { ...added, id: state().next.disk };
      nameFree(state(), disk);
      state().next.disk += 1;
      state().disks.set(disk.id, disk);
      return disk;
    },
    addDiskWithId: async (disk) => {
      invariant(!state().disks.has(disk.id), `no disk bears the ID ${disk.id}`);
      nameFree(state(), disk);
      const { disks, next } = state();
      const others = [...disks.values(), disk].toSorted((a, b) => a.id - b.id);
      // Ascending by ID, as the reader gives them.
      disks.clear();
      for (const each of others) disks.set(each.id, each);
      next.disk = Math.max(next.disk, disk.id + 1);
    },
    updateDisk: async (disk) => {
      invariant(state().disks.has(disk.id), `disk ${disk.id} is in the catalog`);
      nameFree(state(), disk);
      state().disks.set(disk.id, disk);
    },
    removeDisk: async (id) => {
      const { disks, runs } = state();
      invariant(disks.has(id), `disk ${id} is in the catalog`);
      const users = [...(await reader.vbds({ diskId: id })), ...(await reader.workers(id))];
      invariant((runs.get(id) ?? []).length === 0 && users.length === 0, `disk ${id} owns nothing and is out of reach`);
      runs.delete(id);
      disks.delete(id);
    },
    raiseNumbers: async ({ commit = 0, disk = 0, generation = 0, event = 0 }) => {
      const { next } = state();
      state().commitNumber = Math.max(state().commitNumber, commit);
      Object.assign(next, {
        disk: Math.max(next.disk, disk + 1),
        generation: Math.max(next.generation, generation + 1),
        event: Math.max(next.event, event + 1),
      });
    },
    setCatalogId: async (catalogId) => void (state().catalogId = catalogId),
    addEvent: async (added) => {
      const event = { ...added, id: state().next.event++ };
      state().events.push(event);
      if (state().events.length > eventsKept) state().events.shift();
      return event;
    },
  };
}

function nameFree(state: State, disk: Disk): void {
  if (disk.name === null) return;
  const taken = [...state.disks.values()].some((other) => other.name === disk.name && other.id !== disk.id);
  if (taken) throw new XvdError('NAME_TAKEN', 'another disk bears that name');
}

type SpaceWriter = Pick<CatalogWriter, 'addDevice' | 'updateDevice' | 'removeDevice' | 'setRuns' | 'takeUnowned' | 'giveUnowned' | 'addBad' | 'removeBad'>;

const spaceWriter = (state: () => State): SpaceWriter => ({
  addDevice: async (added) => {
    const device = { ...added, id: state().next.device++ };
    state().devices.set(device.id, device);
    state().unowned.set(device.id, [{ deviceId: device.id, firstExtent: extents(0), count: device.extentCount, clean: false }]);
    return device;
  },
  updateDevice: async (device) => {
    const before = state().devices.get(device.id);
    invariant(before !== undefined, `device ${device.id} is in the catalog`);
    invariant(before.extentBytes === device.extentBytes && before.extentCount === device.extentCount, `the extents of device ${device.id} stay as they are`);
    state().devices.set(device.id, device);
  },
  removeDevice: async (id) => {
    const { devices, unowned, bad, runs } = state();
    invariant(devices.has(id), `device ${id} is in the catalog`);
    invariant(![...runs.values()].flat().some((run) => run.deviceId === id), `no disk owns extents of device ${id}`);
    for (const map of [devices, unowned, bad]) map.delete(id);
  },
  setRuns: async (diskId, runs) => {
    invariant(state().disks.has(diskId), `disk ${diskId} is in the catalog`);
    for (const run of runs) inside(state(), run);
    state().runs.set(diskId, runs.map(plain));
  },
  takeUnowned: async (run) => void state().unowned.set(run.deviceId, cutOut(state().unowned.get(run.deviceId) ?? [], run)),
  giveUnowned: async (run) => {
    inside(state(), run);
    state().unowned.set(run.deviceId, joined([...(state().unowned.get(run.deviceId) ?? []), run]));
  },
  addBad: async (run) => {
    inside(state(), run);
    state().bad.set(
      run.deviceId,
      [...(state().bad.get(run.deviceId) ?? []), plain(run)].toSorted((a, b) => a.firstExtent - b.firstExtent),
    );
  },
  removeBad: async (run) => {
    const before = state().bad.get(run.deviceId) ?? [];
    const after = before.filter((other) => other.firstExtent !== run.firstExtent || other.count !== run.count);
    invariant(after.length === before.length - 1, `extents ${run.firstExtent}+${run.count} of device ${run.deviceId} are one bad run`);
    state().bad.set(run.deviceId, after);
  },
});

function inside(state: State, run: Run): void {
  const device = state.devices.get(run.deviceId);
  invariant(device !== undefined, `device ${run.deviceId} is in the catalog`);
  invariant(run.count > 0 && run.firstExtent + run.count <= device.extentCount, `extents ${run.firstExtent}+${run.count} lie inside device ${device.id}`);
}

/** Without what a FreeRun has besides. */
const plain = ({ deviceId, firstExtent, count, clean }: Run): Run => ({ deviceId, firstExtent, count, clean });
const endOf = (run: Run): number => run.firstExtent + run.count;

function cutOut(free: readonly Run[], run: Run): Run[] {
  const whole = free.find((other) => other.firstExtent <= run.firstExtent && endOf(run) <= endOf(other));
  invariant(run.count > 0 && whole !== undefined, `extents ${run.firstExtent}+${run.count} of device ${run.deviceId} are one piece of unowned space`);
  const head = { ...whole, count: extents(run.firstExtent - whole.firstExtent) };
  const tail = { ...whole, firstExtent: extents(endOf(run)), count: extents(endOf(whole) - endOf(run)) };
  return free.flatMap((other) => (other === whole ? [head, tail].filter((piece) => piece.count > 0) : [other]));
}

function joined(free: readonly Run[]): Run[] {
  const result: Run[] = [];
  for (const run of [...free].toSorted((a, b) => a.firstExtent - b.firstExtent)) {
    const last = result.at(-1);
    if (last !== undefined && endOf(last) === run.firstExtent && last.clean === run.clean)
      result[result.length - 1] = { ...last, count: extents(last.count + run.count) };
    else result.push(plain(run));
  }
  return result;
}

type UserWriter = Pick<CatalogWriter, 'addVbd' | 'updateVbd' | 'setVbdState' | 'addWorker' | 'removeWorker' | 'putIntent' | 'removeIntent'>;

const userWriter = (state: () => State): UserWriter => ({
  addVbd: async (added) => {
    const vbd = { ...added, generation: state().next.generation };
    invariant(vbd.state !== 'detached', 'a VBD begins attached');
    if (vbd.source.kind === 'vd') invariant(state().disks.has(vbd.source.diskId), `disk ${vbd.source.diskId} is in the catalog`);
    state().next.generation += 1;
    state().vbds.set(vbd.generation, vbd);
    return vbd;
  },
  updateVbd: async (vbd) => updateVbd(state(), vbd),
  setVbdState: async (generation, to) => {
    const vbd = state().vbds.get(generation);
    if (vbd !== undefined) updateVbd(state(), { ...vbd, state: to });
    else invariant(to === 'detached', `VBD ${generation} is in the catalog`);
  },
  addWorker: async (added) => {
    invariant(state().disks.has(added.diskId), `disk ${added.diskId} is in the catalog`);
    const worker = { ...added, id: state().next.worker++ };
    state().workers.set(worker.id, worker);
    return worker;
  },
  removeWorker: async (id) => void state().workers.delete(id),
  putIntent: async (intent) => void state().intents.set(`${intent.kind} ${intent.key}`, intent),
  removeIntent: async (kind, key) => void state().intents.delete(`${kind} ${key}`),
});

function updateVbd(state: State, vbd: Vbd): void {
  const before = state.vbds.get(vbd.generation);
  if (before === undefined && vbd.state === 'detached') return;
  invariant(before !== undefined, `VBD ${vbd.generation} is in the catalog`);
  if (vbd.state === 'detached') {
    state.vbds.delete(vbd.generation);
    return;
  }
  invariant(JSON.stringify(before.source) === JSON.stringify(vbd.source), `VBD ${vbd.generation} keeps its source`);
  state.vbds.set(vbd.generation, vbd);
}
