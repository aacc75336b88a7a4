// The disks of one running QEMU over QMP: what it has, plugging one in, taking one out. Names carry the generation, so a late
// command can't hit a newer VBD of the same target.

import { XvdError } from '../../base/error.ts';
import type { Generation } from '../../core/types.ts';
import type { Plug } from '../hypervisor.ts';
import { deviceAt, deviceOf, deviceOptions, freeSlot, generationOfNode, nodeName, nodeOptions, slotOf } from './machine.ts';
import { isObject } from './qmp-codec.ts';
import type { QmpObject, QmpValue } from './qmp-codec.ts';
import { limited } from './qmp-connection.ts';
import type { QmpConnection } from './qmp-connection.ts';

/** A guest that listens lets go within a second; under emulation on a busy machine within some. */
export const usualLetGoMs = 20_000;
const forcedLetGoMs = 3_000;

/** The VBDs that its devices stand on now. */
export async function pluggedIn(qmp: QmpConnection): Promise<readonly Generation[]> {
  return list(await qmp.execute('query-block')).flatMap((block) => {
    const inserted = isObject(block) ? block['inserted'] : null;
    const name = isObject(inserted) ? inserted['node-name'] : null;
    const generation = typeof name === 'string' ? generationOfNode(name) : null;
    return generation === null ? [] : [generation];
  });
}

export type OpenFile = { readonly path: string; readonly mode: 'r' | 'w'; readonly node: string };

/** Files and devices of the host that it has open, whoever gave them to it. (What it reaches over a network has no path.) */
export async function openFiles(qmp: QmpConnection): Promise<readonly OpenFile[]> {
  return list(await qmp.execute('query-named-block-nodes', { flat: true })).flatMap((node) => {
    const path = text(node, 'file');
    const isLocal = ['file', 'host_device'].includes(text(node, 'drv')) && path.startsWith('/');
    return isLocal && isObject(node) ? [{ path, mode: node['ro'] === true ? 'r' : 'w', node: text(node, 'node-name') }] : [];
  });
}

/** What it has of VBDs stands on: `nbd+unix:…` with the socket, or a device. */
export async function sourcesOf(qmp: QmpConnection): Promise<ReadonlyMap<Generation, string>> {
  return new Map(
    list(await qmp.execute('query-named-block-nodes', { flat: true })).flatMap((node) => {
      const generation = generationOfNode(text(node, 'node-name'));
      return generation === null ? [] : [[generation, text(node, 'file')] as const];
    }),
  );
}

/** Whether it has a device or node of that VBD, in use or not. */
export async function knows(qmp: QmpConnection, generation: Generation): Promise<boolean> {
  return deviceOf(await devices(qmp), generation) !== undefined || (await nodes(qmp)).has(nodeName(generation));
}

/** Finds a place for one more disk. */
export type FindPlace = (qmp: QmpConnection) => Promise<QmpObject>;

/** The machine that xvd starts has one bus, whose slots give the guest the order of names. */
const ownPlace: FindPlace = async (qmp) => slotOf(freeSlot(slotsTaken(await qmp.execute('query-pci'))));

/** A machine of others: the first root port that is free (q35 takes disks nowhere else), else wherever QEMU puts it. */
export const anyPlace: FindPlace = async (qmp) => {
  const ports = list(await qmp.execute('query-pci')).flatMap((bus) => list(isObject(bus) ? (bus['devices'] ?? null) : null));
  for (const port of ports) {
    const bridge = isObject(port) ? port['pci_bridge'] : undefined;
    const id = text(port, 'qdev_id');
    if (isObject(bridge) && id !== '' && list(bridge['devices'] ?? null).length === 0) return { bus: id };
  }
  return {};
};

export async function plugInto(qmp: QmpConnection, plug: Plug, findPlace: FindPlace = ownPlace): Promise<void> {
  const name = nodeName(plug.generation);
  const present = await devices(qmp);
  if (deviceOf(present, plug.generation) !== undefined) return;
  const there = deviceAt(present, plug.target);
  if (there !== undefined) throw new XvdError('TARGET_TAKEN', `${plug.target} of domain ${plug.domain} is taken by ${there}`);
  if (!(await nodes(qmp)).has(name)) await qmp.execute('blockdev-add', nodeOptions(plug));
  try {
    await qmp.execute('device_add', deviceOptions(plug, await findPlace(qmp)));
  } catch (error) {
    await qmp.execute('blockdev-del', { 'node-name': name }).catch(() => undefined);
    throw error;
  }
}

/** Asks the guest to let go. One that does not is VBD_BUSY; with force its device then stands on a node that fails every request. */
export async function unplugFrom(
  qmp: QmpConnection,
  generation: Generation,
  { force, letGoMs }: { readonly force: boolean; readonly letGoMs: number },
): Promise<void> {
  const device = deviceOf(await devices(qmp), generation);
  if (device !== undefined && !(await askToLetGo(qmp, device, force ? Math.min(letGoMs, forcedLetGoMs) : letGoMs))) {
    if (!force) {
      throw new XvdError('VBD_BUSY', `the guest does not let go of ${device}: it may not have come up, or not know hot-plugging`, {
        fix: 'Unmount it in the guest and try again, stop the domain, or use --force to pull it away.',
      });
    }
    await standOnNothing(qmp, generation, device);
  }
  const node = nodeName(generation);
  if ((await nodes(qmp)).has(node)) await qmp.execute('blockdev-del', { 'node-name': node });
}

async function askToLetGo(qmp: QmpConnection, name: string, timeoutMs: number): Promise<boolean> {
  const gone = Promise.withResolvers<boolean>();
  const stop = qmp.listen(({ event, data }) => {
    if (data['device'] !== name) return;
    if (event === 'DEVICE_DELETED') gone.resolve(true);
    if (event === 'DEVICE_UNPLUG_GUEST_ERROR') gone.resolve(false);
  });
  void qmp.closed.then(() => gone.resolve(true)); // a QEMU that ended has let go of everything
  try {
    // Refused while an earlier request is under way: that one is waited for then.
    await qmp.execute('device_del', { id: name }).catch(() => undefined);
    if (!(await devices(qmp)).has(name)) return true;
    return await limited(gone.promise, timeoutMs, () => new Error('late')).catch(() => false);
  } finally {
    stop();
  }
}

/** QEMU lets the drive of a living device be exchanged: nothing of the VBD is reachable then, whatever the guest does. */
async function standOnNothing(qmp: QmpConnection, generation: Generation, device: string): Promise<void> {
  const name = nodeName(generation);
  const gone = `gone${generation}`;
  if (!(await pluggedIn(qmp)).includes(generation)) return;
  const failing = ['read', 'write', 'write-zeroes', 'discard', 'flush'].map((iotype) => ({ event: 'none', iotype, errno: 5 }));
  const sizeBytes = sizeOfNode(await qmp.execute('query-named-block-nodes', { flat: true }), name);
  await qmp.execute('blockdev-add', { driver: 'blkdebug', 'node-name': gone, image: { driver: 'null-co', size: sizeBytes }, 'inject-error': failing });
  await qmp.execute('qom-set', { path: `/machine/peripheral/${device}`, property: 'drive', value: gone });
}

async function devices(qmp: QmpConnection): Promise<ReadonlySet<string>> {
  return new Set(list(await qmp.execute('qom-list', { path: '/machine/peripheral' })).map((item) => text(item, 'name')));
}

async function nodes(qmp: QmpConnection): Promise<ReadonlySet<string>> {
  return new Set(list(await qmp.execute('query-named-block-nodes', { flat: true })).map((item) => text(item, 'node-name')));
}

function sizeOfNode(value: QmpValue, name: string): number {
  const node = list(value).find((item) => text(item, 'node-name') === name);
  const image = isObject(node) ? node['image'] : null;
  return isObject(image) ? Number(image['virtual-size']) : 0;
}

function slotsTaken(value: QmpValue): ReadonlySet<number> {
  const bus = list(value).find((item) => isObject(item) && item['bus'] === 0);
  return new Set(list(isObject(bus) ? (bus['devices'] ?? null) : null).map((device) => (isObject(device) ? Number(device['slot']) : 0)));
}

const list = (value: QmpValue): readonly QmpValue[] => (Array.isArray(value) ? value : []);
const text = (value: QmpValue, key: string): string => {
  const found = isObject(value) ? value[key] : undefined;
  return typeof found === 'string' || typeof found === 'number' ? String(found) : '';
};
